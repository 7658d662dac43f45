"""Draws one part of the labelled images with several workers; one task is one shard, so neither their number nor their kind changes a byte."""
from __future__ import annotations

import hashlib
import json
import logging
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor, Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from serep.data.heads import read_heads
from serep.data.shards import PartSpec, RenderPart, begin_part, find_aid, finish_part, open_part, write_aid, write_shard
from serep.synthesis.codes import CodeTable, draw_half_pairs, join_halves, no_codes
from serep.synthesis.plan import PartInputs, PartPlan, drawing_code_hash
from serep.synthesis.scenes import Studio
from serep.synthesis.workers import Workers, open_executor, single_threaded

logger = logging.getLogger(__name__)

MAX_DEATHS = 3  # of worker processes, one after the other without a finished shard between them

# Of this worker process: what it opened for the plan it draws, and one task at a time, also where a Dask worker has several threads.
_opened: tuple[PartPlan, PartInputs, Studio] | None = None
_table: tuple[str, CodeTable] | None = None
_one_at_a_time = threading.Lock()


def draw_part(plan: PartPlan, inputs: PartInputs, folder: Path, *, workers: Workers, store: str | None) -> RenderPart:
    """Draws the part and opens it: into `folder`, or its shards below the URL `store` and an index into `folder`.

    A run that was killed goes on where it stopped; in a folder, shards of another plan are deleted. A dead worker's shard is drawn again; RuntimeError when workers
    keep dying (memory), after which a further call goes on. Errors of the drawing and of the store come through as they are.
    """
    deaths = 0
    while True:
        finished: list[int] = []
        try:
            spec = _attempt(plan, inputs.absolute(), folder.absolute(), workers, store, finished)
            break
        except BrokenProcessPool as error:
            deaths = 1 if finished else deaths + 1
            if deaths >= MAX_DEATHS:
                raise RuntimeError(f"{deaths} times in a row a worker died while it drew {folder} (often: out of memory). Finished shards are kept: "
                                   "run again, with fewer workers or smaller shards") from error
            logger.warning("a worker died while it drew %s; its shard is drawn again", folder)
        except CancelledError as error:
            raise RuntimeError(f"the Dask scheduler dropped the shards of {folder} (it was stopped, or lost this process). Finished shards are kept: "
                               "run again") from error
    finish_part(folder.absolute(), spec)
    return open_part(folder)


def _attempt(plan: PartPlan, inputs: PartInputs, folder: Path, workers: Workers, store: str | None, finished: list[int]) -> PartSpec:
    """Draws what is missing, adding to `finished`, until all is there."""
    with open_executor(workers) as executor:
        spec: PartSpec = executor.submit(_describe, plan, inputs, store).result()
        missing = begin_part(folder, spec)
        if missing:
            table = _publish_table(executor, plan, inputs, folder, spec)
            tasks: list[Future] = [executor.submit(_draw_shard, plan, inputs, folder, spec, shard, table) for shard in missing]
            done = spec.images - sum(len(spec.images_of(shard)) for shard in missing)
            with _progress(spec.part, spec.images, done=done) as advance:
                for task in as_completed(tasks):
                    finished.append(task.result())
                    advance(len(spec.images_of(finished[-1])))
    return spec


def _publish_table(executor: Executor, plan: PartPlan, inputs: PartInputs, folder: Path, spec: PartSpec) -> str | None:
    """Leaves the codes of the training people where all workers find them, and returns the name; held-out parts have none.

    Encoding takes seconds, so parts side by side use the first one's.
    """
    if plan.split != "train":
        return None
    decides = [dict(plan.inputs), plan.seed, plan.codes.halves_per_person, spec.code_hash]
    name = "codes-" + hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
    arrays = find_aid(folder, spec, name) or _encoded_people(executor, plan, inputs).to_arrays()
    write_aid(folder, spec, name, arrays)
    return name


def _encoded_people(executor: Executor, plan: PartPlan, inputs: PartInputs) -> CodeTable:
    heads = read_heads(inputs.heads)
    people = [person for person, split in enumerate(heads.subject_splits) if split == "train"]
    owned = [np.flatnonzero(heads.expression_subject == person) for person in people]
    rows = np.concatenate(owned) if owned else np.zeros(0, int)
    if not len(rows):
        raise ValueError(f"{inputs.heads} holds no training expression to take codes from. Run: dvc repro preprocess")
    pairs = draw_half_pairs(heads, people, per_person=plan.codes.halves_per_person, seed=(plan.seed, plan.split_number))
    meshes = [heads.expressive[own] for own in owned]
    for person, place in zip(people, range(len(people)), strict=True):
        left, right = pairs[heads.expression_subject[pairs[:, 0]] == person].T
        joined = join_halves(heads.neutrals[person], heads.expressive[left], heads.expressive[right], heads.topology)
        meshes[place] = np.concatenate([meshes[place], joined])
    count = len(people)
    encoded = list(executor.map(_encode, [plan] * count, [inputs] * count, [heads.neutrals[person] for person in people], meshes))
    codes = np.concatenate([codes[: len(own)] for codes, own in zip(encoded, owned, strict=True)])
    half_codes = np.concatenate([codes[len(own) :] for codes, own in zip(encoded, owned, strict=True)])
    place_of = {int(row): place for place, row in enumerate(rows)}
    half_pairs = np.array([[place_of[int(row)] for row in pair] for pair in pairs], np.int32).reshape(-1, 2)
    return CodeTable(codes, rows.astype(np.int32), tuple(heads.expression_ids[row] for row in rows), half_codes, half_pairs)


def _studio(plan: PartPlan, inputs: PartInputs) -> Studio:
    """This worker's studio, opened by the first task of a plan."""
    global _opened  # noqa: PLW0603
    if _opened is None or _opened[:2] != (plan, inputs):
        single_threaded()
        _opened = (plan, inputs, Studio(plan, inputs))
    return _opened[2]


def _codes(folder: Path, spec: PartSpec, name: str | None) -> CodeTable:
    global _table  # noqa: PLW0603
    if name is None:
        return no_codes()
    if _table is None or _table[0] != name:
        arrays = find_aid(folder, spec, name)
        if arrays is None:
            raise RuntimeError(f"this worker does not see the codes that belong to {folder}. Workers on several machines need a store that all of them "
                               "reach (params: render.store), such as s3://bucket/prefix; memory:// is seen by one process only")
        _table = (name, CodeTable.from_arrays(arrays))
    return _table[1]


def _describe(plan: PartPlan, inputs: PartInputs, store: str | None) -> PartSpec:
    with _one_at_a_time:
        studio = _studio(plan, inputs)
        landmark_ids = tuple(studio.topology.landmark_ids.tolist())
        return plan.spec(code_size=studio.model.code_size, landmark_ids=landmark_ids, renderer=studio.renderer.describe(), store=store)


def _encode(plan: PartPlan, inputs: PartInputs, neutral: np.ndarray, expressive: np.ndarray) -> np.ndarray:
    with _one_at_a_time:
        model = _studio(plan, inputs).model
        return model.encode(model.topology.mesh(neutral.astype(np.float64)), expressive)


def _draw_shard(plan: PartPlan, inputs: PartInputs, folder: Path, spec: PartSpec, shard: int, table: str | None) -> int:
    with _one_at_a_time:
        studio = _studio(plan, inputs)
        _check_alike(spec, studio)
        write_shard(folder, spec, shard, studio.draw(spec.images_of(shard), _codes(folder, spec, table)))
        return shard


def _check_alike(spec: PartSpec, studio: Studio) -> None:
    """A worker of another version or with another GL would draw other bytes."""
    here = studio.plan.spec(code_size=spec.code_size, landmark_ids=spec.landmark_ids, renderer=studio.renderer.describe(), store=spec.store)
    unlike = [f"{name} {mine.get(name)} against {theirs.get(name)}" for mine, theirs in ((here.renderer, spec.renderer), (here.libraries, spec.libraries))
              for name in sorted({*mine, *theirs}) if mine.get(name) != theirs.get(name)]
    if not unlike and drawing_code_hash() != spec.code_hash:
        unlike = ["another version of serep's code"]
    if unlike:
        raise RuntimeError(f"this worker draws part {spec.part} differently from the worker that began it ({'; '.join(unlike)}). All workers need the "
                           "same serep, libraries and GL: install them alike and restart the workers, or use the backend numba, which needs no GL")


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
