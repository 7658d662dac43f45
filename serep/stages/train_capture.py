"""DVC stage `train_capture`: image encoder, expression and landmark heads, and the domain classifier: on real faces, else on simulated ones.

The model's folder holds its ONNX export too, which runs it on a processor."""
import numpy as np

from serep.config import build
from serep.data.real_faces import RealFaces
from serep.export.onnx import onnx_files
from serep.models.capture import CaptureSettings
from serep.models.device import best_device
from serep.models.semantic import SemanticModel
from serep.stages._domains import simulated_faces
from serep.stages._stage import stage, wanted_device, write_folder
from serep.training.augmentation import AugmentationRanges
from serep.training.capture_task import train_capture
from serep.training.loop import save_curve


def main() -> None:
    with stage("train_capture") as run:
        params, paths, parts = run.params.capture, run.params.paths, run.params.render
        run.input(paths.renders)
        training = params.training.model_dump()
        weights = training.pop("loss_weights")
        settings = build(CaptureSettings, params.settings)
        semantic = SemanticModel.load(run.input(paths.semantic_model(run.params.semantic.kind)))
        real = RealFaces.read(run.input(paths.real_faces), "train")
        domain, target = ("real", real) if len(real.images) else ("simulated", simulated_faces(run.params, "train", semantic.topology.landmark_ids))
        model, curve = train_capture(
            [paths.part(name) for name in parts.parts_of("train")], [paths.part(name) for name in parts.parts_of("val")],
            semantic, real=target, backgrounds=[],
            augmentation=build(AugmentationRanges, params.augmentation), loss_weights=weights, settings=settings, device=best_device(wanted_device()),
            **training)
        onnx = onnx_files(model, model.rig)
        write_folder(paths.capture, lambda folder: model.save(folder, onnx=onnx))
        save_curve(paths.plots / "train_capture.csv", curve)
        run.tracker.log_curve(curve)
        last = {key: value for key, value in curve[-1].items() if key.startswith("val_")}
        run.write_metrics(paths.metric("train_capture"), {
            "target_domain": domain, "target_faces": len(target.images),
            "target_faces_with_landmarks": int(np.isfinite(target.landmarks).all(axis=2).any(axis=1).sum()), **last})


if __name__ == "__main__":
    main()
