"""DVC stage `train_capture`: image encoder, expression and landmark heads, and the domain classifier: on real faces, else on simulated ones.

The model's folder holds its ONNX export too, which runs it on a processor. SEREP_PROCESSES trains in several processes, one for each GPU where
there are some.
"""
import os
import sys
from pathlib import Path

import numpy as np
import torch

from serep.config import Params, build, load_params
from serep.data.real_faces import RealFaces
from serep.export.onnx import onnx_files
from serep.models.capture import CaptureModel, CaptureSettings
from serep.models.device import best_device
from serep.models.semantic import SemanticModel
from serep.stages._domains import simulated_faces
from serep.stages._stage import stage, wanted_device, worker_count, write_folder
from serep.training.augmentation import AugmentationRanges
from serep.training.capture_task import train_capture
from serep.training.loop import save_curve
from serep.training.processes import Group, joined, launched, process_count
from serep.training.tracking import find_project_root

MODULE = "serep.stages.train_capture"


def main() -> None:
    with joined(wanted_device()) as (group, device):
        if not group.leads:  # it computes; the leading process reports and writes
            os.chdir(find_project_root(Path.cwd()))
            _train(load_params(Path.cwd()), group, device)
            return
        with stage("train_capture") as run:
            paths = run.params.paths
            for path in (paths.renders, paths.semantic_model(run.params.semantic.kind), paths.real_faces):
                run.input(path)
            model, curve, domain, target = _train(run.params, group, device)
            exported = onnx_files(model, model.rig)
            write_folder(paths.capture, lambda folder: model.save(folder, onnx=exported))
            save_curve(paths.plots / "train_capture.csv", curve)
            _checkpoint(run.params).unlink(missing_ok=True)
            run.tracker.log_curve(curve)
            last = {key: value for key, value in curve[-1].items() if key.startswith("val_")}
            run.write_metrics(paths.metric("train_capture"), {
                "target_domain": domain, "target_faces": len(target.images),
                "target_faces_with_landmarks": int(np.isfinite(target.landmarks).all(axis=2).any(axis=1).sum()), **last})


def _train(params: Params, group: Group, device_name: str) -> tuple[CaptureModel, list[dict[str, float]], str, RealFaces]:
    """The model, its curve, and the target domain with its name."""
    paths, parts = params.paths, params.render
    training = params.capture.training.model_dump()
    weights, device = training.pop("loss_weights"), best_device(device_name)
    semantic = SemanticModel.load(paths.semantic_model(params.semantic.kind))
    real = RealFaces.read(paths.real_faces, "train")
    domain, target = ("real", real) if len(real.images) else ("simulated", simulated_faces(params, "train", semantic.topology.landmark_ids))
    model, curve = train_capture(
        [paths.part(name) for name in parts.parts_of("train")], [paths.part(name) for name in parts.parts_of("val")],
        semantic, real=target, backgrounds=[], augmentation=build(AugmentationRanges, params.capture.augmentation), loss_weights=weights,
        settings=build(CaptureSettings, params.capture.settings), device=device, group=group, checkpoint=_checkpoint(params),
        # Beside a GPU all cores can draw; on a processor drawing ahead was measured to take more from the network than it saves.
        ahead=0 if device.type == "cpu" else max(1, worker_count() // group.count), **training)
    return model, curve, domain, target


def check_processes(count: int, device_name: str) -> None:
    """ValueError where `count` processes cannot each have a GPU of their own although they are to train on GPUs."""
    device = best_device(device_name)
    if count == 1 or device.type != "cuda":
        return
    if device.index is not None:
        raise ValueError(f"SEREP_PROCESSES={count} and SEREP_DEVICE={device_name}: one GPU for all. Each process needs one of its own: set SEREP_DEVICE=cuda, "
                         "and CUDA_VISIBLE_DEVICES where not all are meant")
    if count > (gpus := torch.cuda.device_count()):
        raise ValueError(f"SEREP_PROCESSES={count}, but this machine has {gpus} GPU{'s' * (gpus > 1)}, and each process needs one of its own. "
                         f"Set SEREP_PROCESSES={gpus}, or SEREP_DEVICE=cpu")


def _checkpoint(params: Params) -> Path:
    return params.paths.checkpoints / "train_capture.safetensors"


if __name__ == "__main__":
    try:
        check_processes(process_count(), wanted_device())
    except (ValueError, RuntimeError) as error:  # the user's to mend: the message says all, a traceback would hide it
        sys.exit(f"ERROR: {error}")
    launched(main, MODULE)
