"""What stands for photographs of real faces in a run: the simulated target domain of its params."""
import numpy as np
from jaxtyping import Int

from serep.config import Params, build
from serep.data.real_faces import RealFaces
from serep.faces.head_model import SPLITS
from serep.training.capture_data import LabelledRenders
from serep.training.simulated_target import SimulatedCamera, photograph


def simulated_renders(params: Params, split: str) -> LabelledRenders:
    return LabelledRenders.read([params.paths.part(name) for name in params.simulated.parts_of(split)])


def simulated_faces(params: Params, split: str, landmark_ids: Int[np.ndarray, " L"]) -> RealFaces:
    """Photographs of the simulated domain: those of the test with their true landmarks, the others with as good ones as the params say."""
    return photograph(
        simulated_renders(params, split), build(SimulatedCamera, params.simulated.camera), landmark_ids=landmark_ids,
        landmark_error=0.0 if split == "test" else params.simulated.landmark_error,
        rng=np.random.default_rng([params.simulated.seed, SPLITS.index(split)]))
