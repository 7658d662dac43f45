#!/usr/bin/env bash
# Rewrites requirements.lock: exact pins of everything pyproject.toml asks for, for every Python from 3.11 up. Needs uv.
# torch is left out (its build depends on the machine: see tools/setup.sh); pyrender is added by hand because its own
# metadata pins a PyOpenGL that breaks on newer Pythons. The lock is installed with --no-deps.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mktemp)
uv pip compile pyproject.toml --extra test --universal --fork-strategy fewest --python-version 3.11 --no-annotate --no-header \
    ${FIND_LINKS:+--find-links "$FIND_LINKS"} --no-emit-package torch -o "$out" >/dev/null
{
    echo "# Exact versions of every dependency; written by tools/lock.sh from pyproject.toml. Install with --no-deps."
    grep -vE '^(--|nvidia-|triton|cuda-)' "$out"
    echo "pyrender==0.1.45"
} >requirements.lock
rm -f "$out"
