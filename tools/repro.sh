#!/usr/bin/env bash
# tools/repro.sh PROFILE VIDEO: the whole pipeline, the release, and one animation. Called by `make repro`.
set -euo pipefail
profile=${1:-default}
video=${2:-}
if [ "$profile" = default ]; then
    dvc --wait-for-lock repro
else
    # shellcheck disable=SC2046
    dvc --wait-for-lock exp run $(python tools/profile.py "$profile")
fi
python -m flows.release || [ $? = 3 ]  # 3: registered, but worse than the champion, which stays
[ -n "$video" ] || video=$(python -c 'from serep.config import load_params; print(load_params(".").paths.benchmark / "sequence.mp4")')
serep capture "$video" --out out/capture
cat <<END

Done.
  report       $(pwd)/report/index.html   (open it in a browser)
  released     models:/serep-semantic@champion, models:/serep-capture@champion   (mlflow ui --backend-store-uri sqlite:///mlflow.db)
  animation    $(pwd)/out/capture/animation.glb, overlay.mp4   (from $video)
Your own video:   make repro VIDEO=clip.mp4    or    .venv/bin/serep capture clip.mp4 --out out/clip
END
