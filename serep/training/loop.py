"""The one training loop."""
from __future__ import annotations

import csv
import logging
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from serep.training.checkpoint import Checkpoint, Progress
from serep.training.processes import ALONE, Group

LOGGER = logging.getLogger(__name__)


@runtime_checkable
class Task(Protocol):
    """What is trained: a module, its losses on batches that the task draws itself, and its scores on held-out data.

    The batch of a step depends on the step's number alone, not on those before it: so an interrupted training goes on as if nothing had happened,
    batches can be drawn ahead, and processes can share them.
    """

    module: torch.nn.Module

    def losses(self, step: int, steps: int) -> dict[str, torch.Tensor]:
        """Named, already weighted scalar terms of the batch of one step (1 to `steps`); their sum is minimised."""
        ...

    def validate(self) -> dict[str, float]:
        """Scores on held-out data."""
        ...

    def state(self) -> dict[str, torch.Tensor]:
        """What the task itself remembers between steps, the module's weights aside."""
        ...

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        ...


def learning_rate_factor(step: int, steps: int, warmup_share: float) -> float:
    """Linear warm-up over the first `warmup_share` of the steps, then a cosine to zero."""
    warmup = max(1, round(warmup_share * steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def fit(
    task: Task,
    *,
    steps: int,
    learning_rate: float,
    weight_decay: float,
    warmup_share: float,
    gradient_clip: float,
    log_every: int,
    validate_every: int,
    on_metrics: Callable[[dict[str, float], int], None] | None = None,
    label: str,
    group: Group = ALONE,
    checkpoint: Checkpoint | None = None,
) -> list[dict[str, float]]:
    """Train `task.module` in place with AdamW; returns the curve, one row for each logged step.

    A row holds `step`, each loss term, `total`, and on validated steps (the last one always) the task's scores as `val_<name>`.
    `gradient_clip` bounds the gradient's norm (0 = off). `checkpoint` keeps the training's progress and is taken up where there is some: on a
    processor the weights come out the same to the byte. It is left behind; whoever has stored the result removes it. `group` averages the
    gradients of several processes, of which the leading one validates and saves. Raises RuntimeError, naming the term and the step, when a loss
    is not finite.
    """
    if steps < 1:
        raise ValueError(f"{label}: {steps} training steps were asked for. Ask for at least one")
    parameters = [parameter for parameter in task.module.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay)
    done, rows = _go_on(task, optimiser, checkpoint, label)
    with _progress_bar(visible=group.leads) as progress:
        bar = progress.add_task(label, total=steps, completed=done)
        for step in range(done + 1, steps + 1):
            task.module.train()
            terms = task.losses(step, steps)
            for name, value in terms.items():
                if not torch.isfinite(value):
                    raise RuntimeError(
                        f"{label}: loss {name!r} is {value.item()} at step {step} of {steps}. Lower the learning rate or look for bad values in the data"
                    )
            total = torch.stack(list(terms.values())).sum()
            optimiser.zero_grad(set_to_none=True)
            total.backward()
            group.average_gradients(parameters)
            if gradient_clip > 0:
                torch.nn.utils.clip_grad_norm_(parameters, gradient_clip)
            for settings in optimiser.param_groups:
                settings["lr"] = learning_rate * learning_rate_factor(step - 1, steps, warmup_share)
            optimiser.step()
            progress.update(bar, advance=1)
            validated = step % validate_every == 0 or step == steps
            if validated or step % log_every == 0:
                row = {"step": float(step), **group.average({name: float(value.detach()) for name, value in terms.items()} | {"total": float(total.detach())})}
                if validated:
                    group.average_buffers(task.module)
                    row |= _validated(task, label, step, steps) if group.leads else {}
                rows.append(row)
                if on_metrics is not None and group.leads:
                    on_metrics({name: value for name, value in row.items() if name != "step"}, step)
            if checkpoint is not None and group.leads and (checkpoint.due or step == steps):
                checkpoint.save(Progress(step, _tensors(task, optimiser), rows))
    task.module.eval()
    return rows


def _validated(task: Task, label: str, step: int, steps: int) -> dict[str, float]:
    task.module.eval()
    with torch.no_grad():
        scores = {f"val_{name}": float(value) for name, value in task.validate().items()}
    LOGGER.info("%s step %d/%d: %s", label, step, steps, ", ".join(f"{name} {value:.4g}" for name, value in scores.items()))
    return scores


def _go_on(task: Task, optimiser: torch.optim.Optimizer, checkpoint: Checkpoint | None, label: str) -> tuple[int, list[dict[str, float]]]:
    """Steps already done and their curve, the module, the optimiser and the task brought to where they were."""
    saved = checkpoint.load() if checkpoint is not None else None
    if saved is None:
        return 0, []
    parts: dict[str, dict[str, torch.Tensor]] = {"module": {}, "optimiser": {}, "task": {}}
    for name, tensor in saved.tensors.items():
        part, _, rest = name.partition("/")
        parts[part][rest] = tensor
    task.module.load_state_dict(parts["module"])
    task.load_state(parts["task"])
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in parts["optimiser"].items():
        number, _, key = name.partition("/")
        moments.setdefault(int(number), {})[key] = tensor
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    LOGGER.info("%s: going on after step %d, from %s", label, saved.step, checkpoint.file)
    return saved.step, saved.rows


def _tensors(task: Task, optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    moments = optimiser.state_dict()["state"]
    return {
        **{f"module/{name}": tensor for name, tensor in task.module.state_dict().items()},
        **{f"task/{name}": tensor for name, tensor in task.state().items()},
        **{f"optimiser/{number}/{key}": tensor for number, values in moments.items() for key, tensor in values.items()},
    }


def save_curve(path: Path, rows: list[dict[str, float]]) -> None:
    """Write curve rows as CSV; a column that a row lacks stays empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    partial = path.with_name(path.name + ".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, columns, restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: f"{value:.8g}" for name, value in row.items()})
    partial.replace(path)


def _progress_bar(*, visible: bool) -> ProgressBar:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return ProgressBar(*columns, console=Console(stderr=True), disable=not (visible and sys.stderr.isatty()), transient=True)
