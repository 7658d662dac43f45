"""DVC stage `train_semantic`: one kind of semantic expression model, fitted to the training people."""
import sys

import torch
from threadpoolctl import threadpool_limits

from serep.data.heads import read_heads
from serep.models.device import best_device
from serep.stages._stage import stage, wanted_device, write_folder
from serep.training.loop import save_curve
from serep.training.semantic_task import train_semantic


def main(kind: str) -> None:
    # Networks this small train as fast on one thread as on many, and the last bits of what comes out depend on their number.
    torch.set_num_threads(1)
    with threadpool_limits(1), stage(f"train_semantic@{kind}") as run:
        params, paths = run.params.semantic, run.params.paths
        settings = params.training.model_dump()
        weights, checkpoint = settings.pop("loss_weights"), paths.checkpoints / f"train_semantic_{kind}.safetensors"
        model, curve = train_semantic(
            read_heads(run.input(paths.surfaces)), kind=kind, code_size=params.code_size, gradient_modes=params.gradient_modes, weights=weights,
            device=best_device(wanted_device()), checkpoint=checkpoint, **settings)
        write_folder(paths.semantic_model(kind), model.save)
        save_curve(paths.plots / f"train_semantic_{kind}.csv", curve)
        checkpoint.unlink(missing_ok=True)
        run.tracker.log_curve(curve)


if __name__ == "__main__":
    main(sys.argv[1])
