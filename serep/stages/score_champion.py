"""Not a stage of DVC's: what `score_capture` would say of a released capture model, for a release that compares with it (flows/rescore.py).

The renders' codes are those of the semantic model here. A released model with another one reads its own codes off the same expressions of the mean head.
"""
import numpy as np

from serep.models.capture import CaptureModel
from serep.models.device import best_device
from serep.models.semantic import SemanticModel
from serep.stages._capture_scores import capture_test
from serep.stages._stage import stage, wanted_device
from serep.training.capture_data import POSE_BATCH


def main() -> None:
    with stage("score_champion") as run:
        paths = run.params.paths
        model = CaptureModel.load(run.input(paths.capture), device=best_device(wanted_device()), engine="torch")
        here = SemanticModel.load(run.input(paths.semantic_model(run.params.semantic.kind)))
        if not np.array_equal(here.topology.faces, model.semantic.topology.faces):
            raise ValueError(f"the released model is of the topology {model.semantic.topology.name!r}, the test of {here.topology.name!r}")
        run.input(paths.renders)
        run.write_metrics(paths.metric("score_capture"), capture_test(run, model, lambda codes: codes_of(model.semantic, codes, here)).scores)


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
