"""The released semantic model as MLflow serves it: codes to meshes on the mean neutral, or meshes to codes. Run by MLflow, not imported."""
from pathlib import Path

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class SemanticPyfunc(PythonModel):
    """Codes (B, Z) to vertices (B, V, 3) in mm; with `mode` "encode", vertices as rows (B, V * 3) of the mean neutral's expressions to codes."""

    def load_context(self, context) -> None:
        from serep.models.semantic import SemanticModel

        self.model = SemanticModel.load(Path(context.artifacts["model"]))
        self.neutral = self.model.mean_neutral
        self.rig = self.model.bind(self.neutral)

    def predict(self, context, model_input: np.ndarray, params: dict | None = None) -> np.ndarray:
        from serep.training.serving import check_rows, refuse

        mode = (params or {}).get("mode", "decode")
        widths = {"decode": self.model.code_size, "encode": self.neutral.vertices.size}
        if mode not in widths:
            refuse(f"unknown mode {mode!r}. Use one of: {', '.join(widths)}")
        check_rows(model_input, mode, width=widths[mode], answer_width=sum(widths.values()) - widths[mode])
        rows = model_input.astype(np.float32)
        if mode == "encode":
            return self.model.encode(self.neutral, rows.reshape(len(rows), -1, 3))
        return self.rig.pose(rows)


set_model(SemanticPyfunc())
