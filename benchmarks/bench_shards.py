"""How fast random images come out of the render store, alone and through loader workers, beside raw pixels, tar shards and Zarr's own reader; how small
they are, and what other codecs and layouts would do. Everything in one run, taking turns, with all files in the page cache."""
from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import psutil
from numcodecs import zstd
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from benchmarks.layouts import JPEG, PNG, Batches, Memmap, Serep, Tar, Zarr, write_tars
from serep.data.render_dataset import BATCHES_AHEAD, RenderDataset, open_loader
from serep.data.schema import RENDER_ARRAYS
from serep.data.shards import DrawnImages, PartSpec, Recipe, write_part
from serep.faces import BUILT_IN_HEADS, SubjectPlan, open_head_model
from serep.geometry.camera import project
from serep.render.portrait import Portraits
from serep.render.ranges import SceneRanges
from serep.render.renderer import open_renderer

SIZE_PX = 224
PEOPLE, EXPRESSIONS, IMAGES_PER_PERSON = 8, 8, 64
IMAGES_PER_SHARD = 128
ROUNDS, READS = 7, 300
LOADER_ROUNDS, BATCH, WORKERS = 9, 32, 2
TRAINING_STEP = 375  # images a second of the capture network's step on two cores of its own, the fastest measured (docs/log.md)
RANGES = SceneRanges(
    yaw_max_deg=50.0, pitch_max_deg=25.0, roll_max_deg=15.0, view_min_deg=12.0, view_max_deg=50.0, margin_min=1.2, margin_max=1.9, shift_max=0.05,
    gaze_max_deg=20.0, surroundings_min=0.3, surroundings_max=0.9, surroundings_contrast=0.6, lamp_min=0.1, lamp_max=0.9,
    lamp_azimuth_max_deg=80.0, lamp_elevation_min_deg=-20.0, lamp_elevation_max_deg=80.0, tint=0.1,
    shadow_share=0.8, bald_share=0.1, beard_share=0.3, grey_share=0.1, makeup_share=0.15, glasses_share=0.2, occluder_share=0.1)


def run() -> dict:
    """Images a second (median of rounds that take turns), ratios to raw pixels, and bytes an image."""
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        scratch, drawn = Path(folder), draw_images()
        images = len(drawn.subject_ids)
        written = images / _seconds(lambda: _write_part(scratch / "part", drawn))
        for name in ("rgb", "mask"):
            drawn.arrays[name].tofile(scratch / name)
        write_tars(scratch, "jpeg", ".jpg", JPEG, drawn, images_per_shard=IMAGES_PER_SHARD)
        write_tars(scratch, "png", ".png", PNG, drawn, images_per_shard=IMAGES_PER_SHARD)
        layouts = {"serep": Serep(scratch), "memmap": Memmap(scratch, SIZE_PX), "zarr": Zarr(scratch, SIZE_PX), "tar_jpeg": Tar(scratch, "jpeg"),
                   "tar_png": Tar(scratch, "png")}
        alone = _images_per_second(layouts, images)
        in_order = {kind: images / _seconds(lambda kind=kind: [None for _ in layouts[kind].in_order()]) for kind in ("tar_jpeg", "tar_png")}
        loaded = _through_loaders({name: layouts[name] for name in ("serep", "memmap", "tar_jpeg", "tar_png")}, RenderDataset([scratch / "part"]))
        per_image = {"serep": sum(_bytes(scratch / "part" / "images.zarr" / name / "c") for name in ("rgb", "mask")) / images, "memmap": SIZE_PX**2 * 4,
                     "tar_jpeg": sum(file.stat().st_size for file in scratch.glob("jpeg-*.tar")) / images,
                     "tar_png": sum(file.stat().st_size for file in scratch.glob("png-*.tar")) / images}
    return {
        "images": images, "size_px": SIZE_PX, "covered_share": float((drawn.arrays["mask"] > 0).mean()), "written_per_second": written,
        "bytes_per_image": per_image, "compression": per_image["memmap"] / per_image["serep"],
        "one_process_random": alone, "tar_in_order": in_order, "serep_over_zarr": alone["serep"] / alone["zarr"],
        "loader_2_workers_random": loaded,
        "codecs_rgb": _codecs(np.ascontiguousarray(drawn.arrays["rgb"][:: images // 64])),
    }


def draw_images() -> DrawnImages:
    """Renders as the pipeline makes them, without a semantic model: true expressions of built-in heads, random looks, light and cameras."""
    model, renderer = open_head_model("makehuman", BUILT_IN_HEADS), open_renderer("numba", size_px=SIZE_PX, fallback=None)
    topology, portraits = model.topology, Portraits(model.topology)
    plan = SubjectPlan(train_people=PEOPLE, val_people=0, test_people=0, expressions_per_person=EXPRESSIONS, test_expressions=1,
                       units_min=2, units_max=6, weight_min=0.2, weight_max=1.0, symmetric_share=0.6)
    drawn: dict[str, list] = {layout.name: [] for layout in RENDER_ARRAYS}
    for person, subject in enumerate(model.subjects(plan, seed=0)):
        rng = np.random.default_rng([0, person])
        sitter = portraits.sitter(subject.neutral.astype(np.float64), RANGES, rng=rng)
        for number in range(IMAGES_PER_PERSON):
            vertices = subject.expressive[number % EXPRESSIONS].astype(np.float64)
            landmarks = topology.landmarks(vertices)
            shot = sitter.sample_shot(RANGES, landmarks, size_px=SIZE_PX, rng=rng)
            layers, camera = renderer.render(sitter.scene(vertices, shot)), shot.camera
            values = {"rgb": layers.rgb, "mask": layers.mask, "codes": rng.normal(size=64), "landmarks": project(landmarks, camera),
                      "intrinsics": camera.intrinsics, "world_to_camera": camera.world_to_camera, "subject": person, "expression": number,
                      "seed": len(drawn["seed"])}
            for name, value in values.items():
                drawn[name].append(value)
    arrays = {layout.name: np.asarray(drawn[layout.name]).astype(layout.dtype) for layout in RENDER_ARRAYS}
    count = len(arrays["seed"])
    return DrawnImages(arrays, ["-"] * count, ["-"] * count, [Recipe("own", (0,), (1.0,))] * count)


def _write_part(folder: Path, drawn: DrawnImages) -> None:
    spec = PartSpec(part="part", split="train", images=len(drawn.subject_ids), images_per_shard=IMAGES_PER_SHARD, height_px=SIZE_PX, width_px=SIZE_PX,
                    code_size=drawn.arrays["codes"].shape[1], landmark_ids=tuple(range(drawn.arrays["landmarks"].shape[1])), plan_hash="", plan={}, renderer={})
    write_part(folder, spec, lambda rows: DrawnImages(
        {name: values[rows.start : rows.stop] for name, values in drawn.arrays.items()}, *(
            values[rows.start : rows.stop] for values in (drawn.subject_ids, drawn.expression_ids, drawn.recipes))))


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _images_per_second(layouts: dict, images: int) -> dict[str, float]:
    """Rounds alternate between the layouts, so that a busy machine slows all of them alike."""
    rng, seconds = np.random.default_rng(0), {name: [] for name in layouts}
    rgb, mask = np.empty((SIZE_PX, SIZE_PX, 3), np.uint8), np.empty((SIZE_PX, SIZE_PX), np.uint8)
    for turn in range(ROUNDS + 1):
        order = rng.integers(images, size=READS).tolist()
        for name, layout in layouts.items():
            took = _seconds(lambda layout=layout, order=order: [layout.read(image, rgb, mask) for image in order])
            if turn:  # the first round opens files and warms up
                seconds[name].append(took)
    return {name: READS / statistics.median(times) for name, times in seconds.items()}


def _through_loaders(layouts: dict, renders: RenderDataset) -> dict:
    """Two loader workers: images a second, processor time an image of all processes, and the share of its time that a training step waits.

    Where others use the cores too, the clock says little and processor time more.
    """
    ahead = {"num_workers": WORKERS, "prefetch_factor": BATCHES_AHEAD, "persistent_workers": True, "multiprocessing_context": "forkserver"}
    loaders = {name: DataLoader(Batches(layout, SIZE_PX), batch_size=None, sampler=BatchSampler(RandomSampler(layout), BATCH, drop_last=True), **ahead)
               for name, layout in layouts.items()}
    loaders["serep_all_labels"] = open_loader(renders, batch_size=BATCH, workers=WORKERS, seed=0, start_method="forkserver")
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in loaders}
    for turn in range(LOADER_ROUNDS + 1):
        for name, loader in loaders.items():
            before = _cpu_seconds(loader) if turn else 0.0
            took = _seconds(lambda loader=loader: [None for _ in loader])
            if turn:  # the first round starts the workers
                seconds[name].append((took, _cpu_seconds(loader) - before))
    images = {name: len(loader) * BATCH for name, loader in loaders.items()}
    speeds = {name: images[name] / statistics.median(wall for wall, _ in times) for name, times in seconds.items()}
    cpu_ms = {name: 1000 * statistics.median(cpu for _, cpu in times) / images[name] for name, times in seconds.items()}
    store = loaders["serep_all_labels"]
    step, waited, whole = BATCH / TRAINING_STEP, 0.0, time.perf_counter()
    batches = iter(store)
    for number in range(len(store)):
        took = _seconds(lambda: next(batches))
        waited += took if number else 0.0  # nothing is ahead of the first
        time.sleep(step)
    return {
        "images_per_second": speeds, "over_memmap": {name: speed / speeds["memmap"] for name, speed in speeds.items()}, "cpu_ms_per_image": cpu_ms,
        "over_memmap_by_cpu": {name: cpu_ms["memmap"] / value for name, value in cpu_ms.items()},
        "over_training_step": speeds["serep_all_labels"] / TRAINING_STEP, "training_waits_share": waited / (time.perf_counter() - whole),
    }


def _cpu_seconds(loader: DataLoader) -> float:
    """Of this process and the loader's workers so far."""
    workers = [psutil.Process(worker.pid).cpu_times() for worker in loader._iterator._workers]
    return time.process_time() + sum(times.user + times.system for times in workers)


def _codecs(rgb: np.ndarray) -> dict[str, dict[str, float]]:
    """Bytes an image, and milliseconds to encode and decode one: why it is zstd of level 1, an image at a time."""
    def from_rows(data: bytes) -> np.ndarray:
        rows = np.frombuffer(zstd.decompress(data), np.uint8).reshape(SIZE_PX, -1)
        return np.add.accumulate(rows, axis=0, dtype=np.uint8)

    def to_rows(image: np.ndarray) -> bytes:
        rows = image.reshape(SIZE_PX, -1)
        return zstd.compress(np.concatenate([rows[:1], rows[1:] - rows[:-1]]), 1)

    def picture(suffix: str, options: list[int]) -> tuple[Callable, Callable]:
        return (lambda image: cv2.imencode(suffix, image, options)[1]), (lambda data: cv2.imdecode(data, cv2.IMREAD_UNCHANGED))

    codecs = {f"zstd_{level}": ((lambda image, level=level: zstd.compress(image, level)), zstd.decompress) for level in (1, 3, 9)}
    codecs |= {"zstd_1_of_row_differences": (to_rows, from_rows), "png": picture(".png", PNG), "jpeg_95_lossy": picture(".jpg", JPEG),
               "webp_lossless": picture(".webp", [cv2.IMWRITE_WEBP_QUALITY, 101])}
    result = {}
    for name, (encode, decode) in codecs.items():
        encoded = [encode(image) for image in rgb]
        times = [(_seconds(partial(encode, image)), _seconds(partial(decode, data))) for image, data in zip(rgb, encoded, strict=True)]
        result[name] = {"bytes": statistics.mean(len(data) for data in encoded), "encode_ms": 1000 * statistics.median(one for one, _ in times),
                        "decode_ms": 1000 * statistics.median(other for _, other in times)}
    together = [zstd.compress(rgb[start : start + 8], 1) for start in range(0, len(rgb) - 7, 8)]
    result["zstd_1_eight_together"] = {"bytes": statistics.mean(len(data) for data in together) / 8,
                                       "decode_ms": 1000 * statistics.median(_seconds(lambda data=data: zstd.decompress(data)) for data in together)}
    return result


def main() -> None:
    from benchmarks.__main__ import main as run_benchmarks

    run_benchmarks(["shards"])


if __name__ == "__main__":
    main()
