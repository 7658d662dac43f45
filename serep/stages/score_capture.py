"""DVC stage `score_capture`: the capture network on renders of people and expressions never trained on, beside trivial answers."""
from pathlib import Path

import numpy as np

from serep.benchmark.capture_scores import LabelledCodes, score_capture
from serep.config import build
from serep.models.capture import CaptureModel
from serep.models.device import best_device
from serep.models.store import npz_bytes
from serep.stages._stage import stage, wanted_device, write_folder
from serep.training.augmentation import AugmentationRanges
from serep.training.capture_predictions import predict_renders
from serep.training.capture_task import LabelledRenders

EXAMPLES = 24


def main() -> None:
    with stage("score_capture") as run:
        params, paths, parts = run.params.capture.scoring, run.params.paths, run.params.render
        run.input(paths.renders)
        model = CaptureModel.load(run.input(paths.capture), device=best_device(wanted_device()))
        train, test = (LabelledRenders.read([paths.part(name) for name in parts.parts_of(split)]) for split in ("train", "test"))
        seen = predict_renders(model, test, ranges=build(AugmentationRanges, run.params.capture.augmentation), rng=np.random.default_rng(params.seed))
        scores = score_capture(
            model.rig.pose, LabelledCodes(train.codes, train.landmarks), LabelledCodes(test.codes, seen.true_landmarks), predicted_codes=seen.codes,
            predicted_landmarks=seen.landmarks, landmark_ids=model.landmark_ids, ridge=params.ridge)
        shown = np.linspace(0, len(test.codes) - 1, min(EXAMPLES, len(test.codes))).astype(int)

        def write(folder: Path) -> None:
            folder.mkdir(parents=True)
            examples = {"images": seen.images, "predicted": seen.landmarks, "reference": seen.true_landmarks}
            (folder / "examples.npz").write_bytes(npz_bytes({name: array[shown] for name, array in examples.items()}))

        write_folder(paths.capture_scores, write)
        run.write_metrics(paths.metric("score_capture"), scores | {"images": len(test.codes)})


if __name__ == "__main__":
    main()
