"""How a capture model is scored on what it was not trained on: the stage's own model, or a released one (flows/rescore.py)."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from serep.benchmark.capture_scores import LabelledCodes, score_capture
from serep.benchmark.domain_scores import real_face_scores
from serep.config import build
from serep.data.real_faces import RealFaces
from serep.models.capture import CaptureModel
from serep.stages._domains import simulated_faces, simulated_renders
from serep.stages._stage import Stage
from serep.training.augmentation import AugmentationRanges
from serep.training.capture_data import LabelledRenders
from serep.training.capture_predictions import Predictions, predict_faces, predict_renders

Codes = Float[np.ndarray, "N Z"]


@dataclass(frozen=True, eq=False)
class CaptureTest:
    scores: dict[str, object]
    renders: Predictions
    simulated: Predictions


def capture_test(run: Stage, model: CaptureModel, own_codes: Callable[[Codes], Codes] = lambda codes: codes) -> CaptureTest:
    """Test renders, the simulated domain's photographs and real faces. The renders' codes are those of the run's semantic model, which `own_codes` turns
    into the codes of `model`."""
    params, paths, parts = run.params.capture.scoring, run.params.paths, run.params.render
    train, test = (LabelledRenders.read([paths.part(name) for name in parts.parts_of(split)]) for split in ("train", "test"))
    ranges = build(AugmentationRanges, run.params.capture.augmentation)
    renders = predict_renders(model, test, ranges=ranges, rng=np.random.default_rng(params.seed))
    simulated = predict_faces(model, simulated_faces(run.params, "test", model.landmark_ids))
    known = LabelledCodes(own_codes(train.codes), train.landmarks)

    def scored(seen: Predictions, true: Codes) -> dict[str, object]:
        return score_capture(
            model.rig.pose, known, LabelledCodes(own_codes(true), seen.true_landmarks), predicted_codes=seen.codes,
            predicted_landmarks=seen.landmarks, landmark_ids=model.landmark_ids, ridge=params.ridge) | {"images": len(seen.codes)}

    real = predict_faces(model, RealFaces.read(run.input(paths.real_faces), "test"))
    return CaptureTest(scored(renders, test.codes) | {
        "simulated": scored(simulated, simulated_renders(run.params, "test").codes),
        "real": real_face_scores(model.landmark_ids, model.mean_landmarks(real.codes), real.landmarks, real.true_landmarks)}, renders, simulated)
