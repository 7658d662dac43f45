"""DVC stage `score_capture`: the capture network on renders and photographs of people and expressions never trained on, beside trivial answers."""
from pathlib import Path

import numpy as np

from serep.models.capture import CaptureModel
from serep.models.device import best_device
from serep.models.store import npz_bytes
from serep.stages._capture_scores import capture_test
from serep.stages._stage import stage, wanted_device, write_folder

EXAMPLES = 24


def main() -> None:
    with stage("score_capture") as run:
        paths = run.params.paths
        run.input(paths.renders)
        made = capture_test(run, CaptureModel.load(run.input(paths.capture), device=best_device(wanted_device()), engine="torch"))

        def write(folder: Path) -> None:
            folder.mkdir(parents=True)
            examples = {}
            for name, one in (("", made.renders), ("simulated_", made.simulated)):
                shown = np.linspace(0, len(one.codes) - 1, min(EXAMPLES, len(one.codes))).astype(int)
                arrays = {"images": one.images, "predicted": one.landmarks, "reference": one.true_landmarks}
                examples |= {name + key: array[shown] for key, array in arrays.items()}
            (folder / "examples.npz").write_bytes(npz_bytes(examples))

        write_folder(paths.capture_scores, write)
        run.write_metrics(paths.metric("score_capture"), made.scores)


if __name__ == "__main__":
    main()
