#!/usr/bin/env bash
# Makes .venv with the exact versions of requirements.lock and the serep package itself. Does nothing when it is up to date.
#   PYTHON=python3.12        another interpreter (3.11 or newer)
#   SEREP_TORCH=cuda|cpu     which torch build; by default cuda where nvidia-smi answers, else cpu
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
venv=.venv

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "serep needs Python 3.11 or newer; '$python' is $("$python" --version 2>&1 || echo missing). Install it (Debian 12: apt-get install python3 python3-venv) or set PYTHON=/path/to/python3.11" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "$python has no venv module. Install it: apt-get install python3-venv" >&2
    exit 1
fi
command -v git >/dev/null || { echo "serep needs git (DVC keeps its metrics by commit). Install it: apt-get install git" >&2; exit 1; }

torch_build=${SEREP_TORCH:-$(nvidia-smi >/dev/null 2>&1 && echo cuda || echo cpu)}
torch_pin=$(sed -nE 's/^ *"(torch==[0-9.]+)".*/\1/p' pyproject.toml)
stamp="$(cat requirements.lock pyproject.toml tools/setup.sh | sha256sum | cut -c1-16)-$torch_build"
[ "$(cat $venv/.serep-installed 2>/dev/null || true)" = "$stamp" ] && exit 0

echo "serep: installing the pinned environment into $venv (torch: $torch_build); a few minutes the first time"
[ -x $venv/bin/python ] || "$python" -m venv $venv
pip() { $venv/bin/python -m pip --disable-pip-version-check "$@"; }
torch_runs() { $venv/bin/python -c "import torch; assert torch.__version__.split('+')[0] == '${torch_pin#*==}'" 2>/dev/null; }
pip install --quiet --no-deps -r requirements.lock
if ! torch_runs && [ "$torch_build" = cpu ]; then
    # A local wheel named by pip's own find-links, or PyTorch's CPU index; ten times smaller than the CUDA build.
    pip install --quiet --no-deps --retries 1 --timeout 20 --extra-index-url https://download.pytorch.org/whl/cpu "$torch_pin" 2>/dev/null || true
fi
torch_runs || pip install --quiet "$torch_pin"
pip install --quiet --no-deps --no-build-isolation --editable .
echo "$stamp" >$venv/.serep-installed
