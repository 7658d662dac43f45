"""The released capture model as MLflow serves it: the frames of one clip to expression codes, meshes and landmarks. Run by MLflow, not imported."""
from pathlib import Path

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class CapturePyfunc(PythonModel):
    """RGB frames (T, H, W, 3) to codes (T, Z), vertices (T, V, 3) in mm on the mean neutral, landmarks (T, L, 2) in pixels and found (T,).

    Frames without a face have `found` false, and landmarks of zero because JSON knows no NaN.
    """

    def load_context(self, context) -> None:
        from serep.models.capture import CaptureModel

        self.model = CaptureModel.load(Path(context.artifacts["model"]))

    def predict(self, context, model_input: np.ndarray, params: dict | None = None) -> dict[str, np.ndarray]:
        from serep.models.capture import CaptureStream
        from serep.training.serving import check_frames, refuse

        check_frames(model_input, vertices=len(self.model.semantic.mean_neutral.vertices))
        fps = (params or {}).get("fps", 25.0)
        if not fps > 0:
            refuse(f"fps must be above 0, got {fps}")
        # A stream says where no face was found; CaptureModel.run refuses a clip that shows none.
        result = CaptureStream(self.model, fps=fps).push(list(model_input.astype(np.uint8)))
        return {
            "codes": result.codes.astype(np.float32), "vertices": result.vertices.astype(np.float32),
            "landmarks": np.nan_to_num(result.landmarks).astype(np.float32), "found": result.found,
        }


set_model(CapturePyfunc())
