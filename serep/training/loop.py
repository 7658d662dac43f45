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
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LOGGER = logging.getLogger(__name__)


@runtime_checkable
class Task(Protocol):
    """What is trained: a module, its losses on batches that the task draws itself, and its scores on held-out data."""

    module: torch.nn.Module

    def losses(self, progress: float) -> dict[str, torch.Tensor]:
        """Named, already weighted scalar terms of one batch; their sum is minimised. `progress` runs from 0 to 1."""
        ...

    def validate(self) -> dict[str, float]:
        """Scores on held-out data."""
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
) -> list[dict[str, float]]:
    """Train `task.module` in place with AdamW; returns the curve, one row for each logged step.

    A row holds `step`, each loss term, `total`, and on validated steps (the last one always) the task's scores as `val_<name>`.
    `gradient_clip` bounds the gradient's norm (0 = off). Raises RuntimeError, naming the term and the step, when a loss is not finite.
    """
    if steps < 1:
        raise ValueError(f"{label}: {steps} training steps were asked for. Ask for at least one")
    parameters = [parameter for parameter in task.module.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: learning_rate_factor(step, steps, warmup_share))
    rows: list[dict[str, float]] = []
    with _progress_bar() as progress:
        bar = progress.add_task(label, total=steps)
        for step in range(1, steps + 1):
            task.module.train()
            terms = task.losses((step - 1) / steps)
            for name, value in terms.items():
                if not torch.isfinite(value):
                    raise RuntimeError(
                        f"{label}: loss {name!r} is {value.item()} at step {step} of {steps}. Lower the learning rate or look for bad values in the data"
                    )
            total = torch.stack(list(terms.values())).sum()
            optimiser.zero_grad(set_to_none=True)
            total.backward()
            if gradient_clip > 0:
                torch.nn.utils.clip_grad_norm_(parameters, gradient_clip)
            optimiser.step()
            schedule.step()
            progress.update(bar, advance=1)
            validated = step % validate_every == 0 or step == steps
            if not validated and step % log_every:
                continue
            row = {"step": float(step), **{name: float(value.detach()) for name, value in terms.items()}, "total": float(total.detach())}
            if validated:
                task.module.eval()
                with torch.no_grad():
                    row |= {f"val_{name}": float(value) for name, value in task.validate().items()}
                LOGGER.info("%s step %d/%d: %s", label, step, steps, ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "step"))
            rows.append(row)
            if on_metrics is not None:
                on_metrics({name: value for name, value in row.items() if name != "step"}, step)
    task.module.eval()
    return rows


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


def _progress_bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)
