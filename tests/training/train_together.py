"""What test_processes.py starts in several processes: a small capture training, then what each of them has.

usage: train_together.py OUT_FOLDER STEPS [KILL_AT]
"""
import json
import os
import signal
import sys
from pathlib import Path

import torch
from dotted_faces import dotted_renders, real_faces, semantic_model, train
from safetensors.torch import save_file

import serep.faces
from serep.training import checkpoint
from serep.training.capture_task import CaptureTask
from serep.training.processes import joined

folder, steps, kill_at = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None
torch.set_num_threads(1)
checkpoint.EVERY_S = 0.0
losses = CaptureTask.losses


def deadly(task, step, steps):
    if step == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return losses(task, step, steps)


CaptureTask.losses = deadly
with joined("cpu") as (group, device):
    topology = serep.faces.open_head_model("makehuman", serep.faces.BUILT_IN_HEADS).topology
    semantic, renders = semantic_model(topology), dotted_renders(topology)
    model, curve = train(semantic, renders, real=real_faces(semantic, renders), steps=steps, device=torch.device(device), group=group,
                         checkpoint=folder / "checkpoint.safetensors", log_every=5, validate_every=steps, learning_rate=5e-3)
    save_file({name: tensor.contiguous() for name, tensor in model.network.state_dict().items()}, folder / f"weights-{group.rank}.safetensors")
    (folder / f"curve-{group.rank}.json").write_text(json.dumps(curve))
