"""DVC stage `score_capture`: the capture network on renders and photographs of people and expressions never trained on, beside trivial answers."""
from pathlib import Path

import numpy as np

from serep.benchmark.capture_scores import LabelledCodes, score_capture
from serep.benchmark.domain_scores import real_face_scores
from serep.config import build
from serep.data.real_faces import RealFaces
from serep.models.capture import CaptureModel
from serep.models.device import best_device
from serep.models.store import npz_bytes
from serep.stages._domains import simulated_faces, simulated_renders
from serep.stages._stage import stage, wanted_device, write_folder
from serep.training.augmentation import AugmentationRanges
from serep.training.capture_data import LabelledRenders
from serep.training.capture_predictions import predict_faces, predict_renders

EXAMPLES = 24


def main() -> None:
    with stage("score_capture") as run:
        params, paths, parts = run.params.capture.scoring, run.params.paths, run.params.render
        run.input(paths.renders)
        model = CaptureModel.load(run.input(paths.capture), device=best_device(wanted_device()), engine="torch")
        train, test = (LabelledRenders.read([paths.part(name) for name in parts.parts_of(split)]) for split in ("train", "test"))
        ranges = build(AugmentationRanges, run.params.capture.augmentation)
        seen = {"": predict_renders(model, test, ranges=ranges, rng=np.random.default_rng(params.seed)),
                "simulated_": predict_faces(model, simulated_faces(run.params, "test", model.landmark_ids))}
        codes = {"": test.codes, "simulated_": simulated_renders(run.params, "test").codes}
        scores = {name: score_capture(
            model.rig.pose, LabelledCodes(train.codes, train.landmarks), LabelledCodes(codes[name], one.true_landmarks), predicted_codes=one.codes,
            predicted_landmarks=one.landmarks, landmark_ids=model.landmark_ids, ridge=params.ridge) | {"images": len(one.codes)}
            for name, one in seen.items()}
        real = RealFaces.read(run.input(paths.real_faces), "test")
        on_real = predict_faces(model, real)
        real_scores = real_face_scores(model.landmark_ids, model.mean_landmarks(on_real.codes), on_real.landmarks, on_real.true_landmarks)

        def write(folder: Path) -> None:
            folder.mkdir(parents=True)
            examples = {}
            for name, one in seen.items():
                shown = np.linspace(0, len(one.codes) - 1, min(EXAMPLES, len(one.codes))).astype(int)
                arrays = {"images": one.images, "predicted": one.landmarks, "reference": one.true_landmarks}
                examples |= {name + key: array[shown] for key, array in arrays.items()}
            (folder / "examples.npz").write_bytes(npz_bytes(examples))

        write_folder(paths.capture_scores, write)
        run.write_metrics(paths.metric("score_capture"), scores[""] | {"simulated": scores["simulated_"], "real": real_scores})


if __name__ == "__main__":
    main()
