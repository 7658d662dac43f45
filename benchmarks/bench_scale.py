"""What one core draws, and what it costs to hand shards out: processes against Dask with 2 and 4 workers, in turn in one run. docs/scale.md goes on from here."""
from __future__ import annotations

import contextlib
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, as_completed
from pathlib import Path

import psutil
import torch

from serep.config import Params, build, load_params
from serep.data.heads import gather_heads, write_heads
from serep.data.part_spec import DrawnImages, PartSpec
from serep.data.preprocess import preprocess
from serep.data.shards import begin_part, finish_part, part_store, write_shard
from serep.faces import BUILT_IN_HEADS, SubjectPlan, open_head_model
from serep.render.sampling import SceneRanges
from serep.synthesis import parts
from serep.synthesis.codes import CodeMix, no_codes
from serep.synthesis.plan import PartInputs, PartPlan
from serep.synthesis.scenes import Studio
from serep.synthesis.workers import Workers, open_executor, single_threaded
from serep.training.semantic_task import train_semantic

ROOT = Path(__file__).resolve().parents[1]
SIZE_PX, IMAGES_PER_PERSON = 224, 50
DRAWN = 150  # by each backend, for its rate
ROUNDS, SHARDS, IMAGES = 6, 8, 20  # of the comparison: shards a round, images a shard
EMPTY_TASKS = 400
BIG_SHARD, BIG_SHARDS = 1000, 6


def run() -> dict:
    """Rates of one core in processor time (milliseconds an image), bytes, and the cost of executors. Ratios are what counts on a shared machine."""
    single_threaded()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        inputs, plan = prepare(scratch)
        figures = {"size_px": SIZE_PX, "images_per_person": IMAGES_PER_PERSON}
        for backend in ("numba", "pyrender"):
            with contextlib.suppress(RuntimeError):  # no GL here
                figures[backend], drawn = _rate(dataclasses.replace(plan, backend=backend), inputs, scratch / backend)
        figures["driver_1000_image_shard"] = _driver(drawn, scratch / "driver")
        figures["executors"] = {f"{count}_workers": _compare(count, plan, inputs, scratch / f"executors-{count}") for count in (2, 4)}
    return figures


def prepare(folder: Path) -> tuple[PartInputs, PartPlan]:
    """A few built-in heads, a model of the default size that is barely trained (which changes no speed), and the look of params.yaml."""
    params: Params = load_params(ROOT)
    people = SubjectPlan(train_people=8, val_people=2, test_people=2, expressions_per_person=18, test_expressions=4, units_min=2, units_max=6,
                         weight_min=0.2, weight_max=1.0, symmetric_share=0.6)
    head_model = open_head_model("makehuman", BUILT_IN_HEADS)
    heads, problems = gather_heads(head_model.subjects(people, seed=0), topology=head_model.topology, expression_names=head_model.expression_names,
                                   provenance={})
    sound, quarantine = preprocess(heads, max_quarantine_share=0.1, left_out=problems)
    write_heads(folder / "surfaces", sound, quarantine=quarantine)
    settings = params.semantic.training.model_dump() | {"steps": 2, "validate_every": 1, "log_every": 1, "identity_modes": 4}
    model, _ = train_semantic(sound, kind=params.semantic.kind, code_size=params.semantic.code_size, gradient_modes=params.semantic.gradient_modes,
                              weights=settings.pop("loss_weights"), device=torch.device("cpu"), **settings)
    model.save(folder / "semantic")
    plan = PartPlan(part="val", split="val", first_image=0, images=SHARDS * IMAGES, seed=0, size_px=SIZE_PX, images_per_shard=IMAGES, people_per_shard=1,
                    codes=build(CodeMix, params.render.codes), backend="numba", fallback=None, ranges=build(SceneRanges, params.render.ranges), inputs={})
    return PartInputs(heads=folder / "surfaces", semantic_model=folder / "semantic", head_source="makehuman", head_path=BUILT_IN_HEADS), plan


def _rate(plan: PartPlan, inputs: PartInputs, folder: Path) -> tuple[dict[str, float], DrawnImages]:
    """One process, from nothing to a stored shard: opening its studio, then drawing and storing."""
    plan = dataclasses.replace(plan, split="train", images=DRAWN, images_per_shard=DRAWN, people_per_shard=DRAWN // IMAGES_PER_PERSON)
    start = time.process_time()
    studio = Studio(plan, inputs)
    opening = time.process_time() - start
    codes = parts._encoded_people(_Here(), plan, inputs) if plan.split == "train" else no_codes()
    spec = plan.spec(code_size=studio.model.code_size, landmark_ids=tuple(studio.topology.landmark_ids.tolist()), renderer=studio.renderer.describe(), store=None)
    studio.draw(range(2), codes)  # compiles
    studio = Studio(plan, inputs)
    start = time.process_time()
    drawn = studio.draw(range(DRAWN), codes)
    drawing = time.process_time() - start
    begin_part(folder, spec)
    start = time.process_time()
    write_shard(folder, spec, 0, drawn)
    storing = time.process_time() - start
    stored = part_store(folder, spec).sizes()
    return {"cpu_ms_per_image": 1000 * (drawing + storing) / DRAWN, "of_which_storing": 1000 * storing / DRAWN,
            "images_per_core_and_second": DRAWN / (drawing + storing), "opening_s": opening,
            "bytes_per_image": sum(size for name, size in stored.items() if "/c/" in name) / DRAWN,
            "record_bytes_per_image": sum(size for name, size in stored.items() if "records" in name) / DRAWN,
            "memory_mb": psutil.Process().memory_info().rss / 1e6}, drawn


class _Here(Executor):
    """Runs tasks in this process."""

    def map(self, function: Callable, *arguments: object) -> Iterator:
        return map(function, *arguments)


def _driver(drawn: DrawnImages, folder: Path) -> dict[str, float]:
    """What the process that hands out pays for each shard: checking it when it resumes, and writing it into the index."""
    few = {name: values[:8] for name, values in drawn.arrays.items()}
    repeated = DrawnImages({name: values.repeat(BIG_SHARD // 8, axis=0) for name, values in few.items()}, *(
        list(values[:8]) * (BIG_SHARD // 8) for values in (drawn.subject_ids, drawn.expression_ids, drawn.recipes)))
    spec = PartSpec(part="train", split="train", images=BIG_SHARD * BIG_SHARDS, images_per_shard=BIG_SHARD, height_px=SIZE_PX, width_px=SIZE_PX,
                    code_size=few["codes"].shape[1], landmark_ids=tuple(range(few["landmarks"].shape[1])), plan_hash="plan", plan={}, renderer={})
    begin_part(folder, spec)
    for shard in range(BIG_SHARDS):
        write_shard(folder, spec, shard, repeated)
    begin, finish = _cpu(lambda: begin_part(folder, spec)), _cpu(lambda: finish_part(folder, spec))
    return {"checking_cpu_ms": 1000 * begin / BIG_SHARDS, "index_cpu_ms": 1000 * finish / BIG_SHARDS}


def _compare(count: int, plan: PartPlan, inputs: PartInputs, folder: Path) -> dict:
    """The same shards by both executors in turn, with workers that are up and have drawn before; and tasks that do nothing."""
    kinds = {"processes": Workers("processes", count), "dask": Workers("dask", count)}
    wall: dict[str, list[float]] = {name: [] for name in kinds}
    cpu: dict[str, list[float]] = {name: [] for name in kinds}
    with contextlib.ExitStack() as stack:
        executors, opening, families = {}, {}, {}
        for name, workers in kinds.items():
            before, start = set(psutil.Process().children(recursive=True)), time.perf_counter()
            executors[name] = stack.enter_context(open_executor(workers))
            _draw(executors[name], plan, inputs, folder / f"{name}-warm")
            opening[name] = time.perf_counter() - start
            families[name] = set(psutil.Process().children(recursive=True)) - before
        for turn in range(ROUNDS):
            for name in sorted(kinds, reverse=bool(turn % 2)):
                start, before = time.perf_counter(), _family_cpu(families[name])
                _draw(executors[name], plan, inputs, folder / f"{name}-{turn}")
                wall[name].append(time.perf_counter() - start)
                cpu[name].append(_family_cpu(families[name]) - before)
        empty = {name: _empty_tasks(executor) for name, executor in executors.items()}
    images = SHARDS * IMAGES
    return {
        "images_per_second": {name: images / statistics.median(times) for name, times in wall.items()},
        "cpu_ms_per_image": {name: 1000 * statistics.median(times) / images for name, times in cpu.items()},
        "dask_overhead": statistics.median(dask / process for dask, process in zip(wall["dask"], wall["processes"], strict=True)) - 1,
        "dask_overhead_by_cpu": statistics.median(cpu["dask"]) / statistics.median(cpu["processes"]) - 1,
        "first_shards_s": opening, "empty_task_ms": empty,
    }


def _draw(executor: Executor, plan: PartPlan, inputs: PartInputs, folder: Path) -> None:
    """As serep.synthesis.parts does, with an executor that stays open."""
    spec = executor.submit(parts._describe, plan, inputs, None).result()
    for task in as_completed([executor.submit(parts._draw_shard, plan, inputs, folder, spec, shard, None) for shard in begin_part(folder, spec)]):
        task.result()
    finish_part(folder, spec)


def _empty_tasks(executor: Executor) -> float:
    start = time.perf_counter()
    for task in as_completed([executor.submit(abs, number) for number in range(EMPTY_TASKS)]):
        task.result()
    return 1000 * (time.perf_counter() - start) / EMPTY_TASKS


def _family_cpu(family: set[psutil.Process]) -> float:
    """Processor seconds so far of this process, which holds the scheduler, and of an executor's workers."""
    times = [process.cpu_times() for process in family if process.is_running()]
    return time.process_time() + sum(one.user + one.system for one in times)


def _cpu(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def main() -> None:
    from benchmarks.__main__ import main as run_benchmarks

    run_benchmarks(["scale"])


if __name__ == "__main__":
    main()
