"""Not a stage of DVC's: what `score_capture` would say of a released capture model, for a release that compares with it (flows/rescore.py).

The renders' codes are those of the semantic model here. A released model with another one reads its own codes off the same expressions of the mean head.
"""
import numpy as np

from serep.benchmark.capture_scores import LabelledCodes, score_capture
from serep.benchmark.domain_scores import real_face_scores
from serep.config import build
from serep.data.real_faces import RealFaces
from serep.models.capture import CaptureModel
from serep.models.device import best_device
from serep.models.semantic import SemanticModel
from serep.stages._domains import simulated_faces, simulated_renders
from serep.stages._stage import stage, wanted_device
from serep.training.augmentation import AugmentationRanges
from serep.training.capture_data import POSE_BATCH, LabelledRenders
from serep.training.capture_predictions import predict_faces, predict_renders


def main() -> None:
    with stage("score_champion") as run:
        params, paths, parts = run.params.capture.scoring, run.params.paths, run.params.render
        model = CaptureModel.load(run.input(paths.capture), device=best_device(wanted_device()))
        here = SemanticModel.load(run.input(paths.semantic_model(run.params.semantic.kind)))
        if not np.array_equal(here.topology.faces, model.semantic.topology.faces):
            raise ValueError(f"the released model is of the topology {model.semantic.topology.name!r}, the test of {here.topology.name!r}")
        run.input(paths.renders)
        train, test = (LabelledRenders.read([paths.part(name) for name in parts.parts_of(split)]) for split in ("train", "test"))
        ranges = build(AugmentationRanges, run.params.capture.augmentation)
        seen = {"": predict_renders(model, test, ranges=ranges, rng=np.random.default_rng(params.seed)),
                "simulated": predict_faces(model, simulated_faces(run.params, "test", model.landmark_ids))}
        known, *true = (codes_of(model.semantic, renders.codes, here) for renders in (train, test, simulated_renders(run.params, "test")))
        scores = {name: score_capture(
            model.rig.pose, LabelledCodes(known, train.landmarks), LabelledCodes(codes, one.true_landmarks), predicted_codes=one.codes,
            predicted_landmarks=one.landmarks, landmark_ids=model.landmark_ids, ridge=params.ridge) | {"images": len(one.codes)}
            for (name, one), codes in zip(seen.items(), true, strict=True)}
        on_real = predict_faces(model, RealFaces.read(run.input(paths.real_faces), "test"))
        real = real_face_scores(model.landmark_ids, model.mean_landmarks(on_real.codes), on_real.landmarks, on_real.true_landmarks)
        run.write_metrics(paths.metric("score_capture"), scores.pop("") | scores | {"real": real})


def codes_of(semantic: SemanticModel, codes: np.ndarray, here: SemanticModel) -> np.ndarray:
    """The same expressions in the codes of `semantic`; as they are where both models have the same weights."""
    one, other = semantic.state_dict(), here.state_dict()
    if one.keys() == other.keys() and all(np.array_equal(one[name].numpy(), other[name].numpy()) for name in one):
        return codes
    rig = here.bind(here.mean_neutral)
    batches = [semantic.encode(here.mean_neutral, rig.pose(codes[start : start + POSE_BATCH])) for start in range(0, len(codes), POSE_BATCH)]
    return np.concatenate(batches)


if __name__ == "__main__":
    main()
