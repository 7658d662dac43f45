"""Draws one part of the labelled images with several processes; one task is one shard, so their number changes no byte."""
from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from serep.data.heads import read_heads
from serep.data.shards import PartSpec, RenderPart, begin_part, finish_part, open_part, write_shard
from serep.synthesis.plan import PartInputs, PartPlan
from serep.synthesis.scenes import CodeTable, Studio
from serep.synthesis.workers import worker_pool

logger = logging.getLogger(__name__)

_order: tuple[PartPlan, PartInputs] | None = None  # of this worker process


def draw_part(plan: PartPlan, inputs: PartInputs, folder: Path, *, workers: int) -> RenderPart:
    """Draws the part into `folder` and opens it. A run that was killed goes on where it stopped; shards of another plan are deleted.

    RuntimeError when a worker dies (memory), after which a further call goes on; errors of the drawing itself come through as they are.
    """
    with worker_pool(workers, _take_order, (plan, inputs)) as pool:
        try:
            spec = pool.submit(_spec, plan).result()
            missing = begin_part(folder, spec)
            if missing:
                _draw_shards(pool, folder, spec, missing, _code_table(pool, plan, inputs))
        except BrokenProcessPool as error:
            raise RuntimeError(f"a worker died while it drew {folder} (often: out of memory). Finished shards are kept: "
                               "run again, with fewer workers or smaller shards") from error
    finish_part(folder, spec)
    return open_part(folder)


def _draw_shards(pool: ProcessPoolExecutor, folder: Path, spec: PartSpec, shards: list[int], table: CodeTable) -> None:
    tasks: list[Future] = [pool.submit(_draw_shard, folder, spec, shard, table) for shard in shards]
    with _progress(spec.part, spec.images, done=spec.images - sum(len(spec.images_of(shard)) for shard in shards)) as advance:
        for task in as_completed(tasks):
            advance(task.result())


def _code_table(pool: ProcessPoolExecutor, plan: PartPlan, inputs: PartInputs) -> CodeTable:
    """Codes of the training people, in the order of the heads; held-out parts use none."""
    if plan.split != "train":
        return CodeTable(np.zeros((0, 0), np.float32), ())
    heads = read_heads(inputs.heads).select("train")
    people = range(len(heads.neutrals))
    rows = [np.flatnonzero(heads.expression_subject == person) for person in people]
    codes = pool.map(_encode, [heads.neutrals[person] for person in people], [heads.expressive[own] for own in rows])
    table = CodeTable(np.concatenate(list(codes)), tuple(heads.expression_ids[row] for own in rows for row in own))
    if not len(table.codes):
        raise ValueError(f"{inputs.heads} holds no training expression to take codes from. Run: dvc repro preprocess")
    return table


def _take_order(plan: PartPlan, inputs: PartInputs) -> None:
    global _order  # noqa: PLW0603
    torch.set_num_threads(1)
    _order = (plan, inputs)


@cache
def _studio() -> Studio:
    """This worker's studio, opened by its first task."""
    return Studio(*_order)


def _spec(plan: PartPlan) -> PartSpec:
    studio = _studio()
    landmark_ids = tuple(studio.topology.landmark_ids.tolist())
    return plan.spec(code_size=studio.model.code_size, landmark_ids=landmark_ids, renderer=studio.renderer.describe())


def _encode(neutral: np.ndarray, expressive: np.ndarray) -> np.ndarray:
    model = _studio().model
    return model.encode(model.topology.mesh(neutral.astype(np.float64)), expressive)


def _draw_shard(folder: Path, spec: PartSpec, shard: int, table: CodeTable) -> int:
    images = spec.images_of(shard)
    write_shard(folder, spec, shard, _studio().draw(images, table))
    return len(images)


class Advance(Protocol):
    def __call__(self, images: int) -> None: ...


@contextmanager
def _progress(part: str, images: int, *, done: int) -> Iterator[Advance]:
    """Calls report finished images: as a bar on a terminal, else as lines of the log."""
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("images"), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(part, total=images, completed=done)
            yield lambda count: bar.advance(task, count)
        return
    start, finished = time.monotonic(), done

    def advance(count: int) -> None:
        nonlocal finished
        finished += count
        rate = (finished - done) / max(time.monotonic() - start, 1e-9)
        logger.info("%s: %d of %d images, %.0f per second", part, finished, images, rate)

    yield advance
