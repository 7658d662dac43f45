"""How fast random images are read from the render store, against Zarr's own indexing and raw pixels, and how small they are."""
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zarr

from serep.data.schema import RENDER_ARRAYS
from serep.data.shards import DrawnImages, PartSpec, open_part, write_part
from serep.faces import BUILT_IN_HEADS, SubjectPlan, open_head_model
from serep.geometry.camera import project
from serep.render.ambient_occlusion import ambient_occlusion
from serep.render.renderer import open_renderer
from serep.render.sampling import SceneRanges, occlusion_floor, sample_appearance, sample_camera, sample_light, sink_inner_parts
from serep.render.scene import Scene

SIZE_PX = 224
PEOPLE, EXPRESSIONS, IMAGES_PER_PERSON = 8, 8, 64
IMAGES_PER_SHARD = 128
ROUNDS, READS = 7, 300
RANGES = SceneRanges(
    yaw_max_deg=50.0, pitch_max_deg=25.0, roll_max_deg=15.0, view_min_deg=12.0, view_max_deg=50.0, margin_min=1.2, margin_max=1.9, shift_max=0.05,
    gaze_max_deg=20.0, surroundings_min=0.3, surroundings_max=0.9, surroundings_contrast=0.6, lamp_min=0.1, lamp_max=0.9,
    lamp_azimuth_max_deg=80.0, lamp_elevation_min_deg=-20.0, lamp_elevation_max_deg=80.0, tint=0.1)


def run() -> dict:
    """Images a second of one process (median of interleaved rounds, files in the page cache), ratios, and bytes an image."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "part"
        drawn = draw_images()
        images = len(drawn.subject_ids)
        spec = PartSpec(part="part", split="train", images=images, images_per_shard=IMAGES_PER_SHARD, height_px=SIZE_PX, width_px=SIZE_PX,
                        code_size=drawn.arrays["codes"].shape[1], landmark_ids=tuple(range(drawn.arrays["landmarks"].shape[1])),
                        plan_hash="", plan={}, renderer={})
        start = time.perf_counter()
        write_part(folder, spec, lambda rows: _rows(drawn, rows))
        written = images / (time.perf_counter() - start)
        part, group = open_part(folder), zarr.open_group(folder / "images.zarr", mode="r")
        rgb, mask = group["rgb"], group["mask"]
        raw = np.concatenate([drawn.arrays["rgb"], drawn.arrays["mask"][..., None]], axis=-1)
        raw.tofile(Path(scratch) / "raw")
        pixels = np.memmap(Path(scratch) / "raw", np.uint8, "r", shape=raw.shape)
        readers: dict[str, Callable[[int], object]] = {
            "serep": lambda image: (part.rgb(image), part.mask(image)),
            "zarr": lambda image: (rgb[image], mask[image]),
            "memmap": lambda image: pixels[image].copy(),
        }
        speeds = _images_per_second(readers, images)
        per_image = {name: _bytes(folder / "images.zarr" / name / "c") / images for name in ("rgb", "mask")}
    return {
        "images": images, "size_px": SIZE_PX, "images_per_second": speeds | {"written": written},
        "serep_over_zarr": speeds["serep"] / speeds["zarr"], "serep_over_memmap": speeds["serep"] / speeds["memmap"],
        "bytes_per_image": per_image | {"raw": float(raw[0].nbytes)}, "compression": raw[0].nbytes / sum(per_image.values()),
        "covered_share": float((drawn.arrays["mask"] > 0).mean()),
    }


def draw_images() -> DrawnImages:
    """Renders as the pipeline makes them, without a semantic model: true expressions of built-in heads, random looks, light and cameras."""
    model, renderer = open_head_model("makehuman", BUILT_IN_HEADS), open_renderer("numba", size_px=SIZE_PX, fallback=None)
    topology = model.topology
    plan = SubjectPlan(train_people=PEOPLE, val_people=0, test_people=0, expressions_per_person=EXPRESSIONS, test_expressions=1,
                       units_min=2, units_max=6, weight_min=0.2, weight_max=1.0, symmetric_share=0.6)
    drawn: dict[str, list] = {layout.name: [] for layout in RENDER_ARRAYS}
    for person, subject in enumerate(model.subjects(plan, seed=0)):
        rng = np.random.default_rng([0, person])
        look = sample_appearance(topology, rng=rng)
        occlusion = ambient_occlusion(topology.mesh(subject.neutral.astype(np.float64)), rays=96, floor=occlusion_floor(topology))
        for number in range(IMAGES_PER_PERSON):
            vertices = subject.expressive[number % EXPRESSIONS].astype(np.float64)
            landmarks = topology.landmarks(vertices)
            camera = sample_camera(RANGES, landmarks, size_px=SIZE_PX, rng=rng)
            shown = sink_inner_parts(vertices, topology, camera)
            layers = renderer.render(Scene(shown, topology.faces, look, occlusion, sample_light(RANGES, rng=rng), camera))
            values = {"rgb": layers.rgb, "mask": layers.mask, "codes": rng.normal(size=64), "landmarks": project(landmarks, camera),
                      "intrinsics": camera.intrinsics, "world_to_camera": camera.world_to_camera, "subject": person, "expression": number,
                      "seed": len(drawn["seed"])}
            for name, value in values.items():
                drawn[name].append(value)
    arrays = {layout.name: np.asarray(drawn[layout.name]).astype(layout.dtype) for layout in RENDER_ARRAYS}
    return DrawnImages(arrays, ["-"] * len(arrays["seed"]), ["-"] * len(arrays["seed"]))


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _rows(drawn: DrawnImages, rows: range) -> DrawnImages:
    part = slice(rows.start, rows.stop)
    return DrawnImages({name: values[part] for name, values in drawn.arrays.items()}, drawn.subject_ids[part], drawn.expression_ids[part])


def _images_per_second(readers: dict[str, Callable[[int], object]], images: int) -> dict[str, float]:
    """Rounds alternate between the readers, so that a busy machine slows all of them alike."""
    rng, seconds = np.random.default_rng(0), {name: [] for name in readers}
    for turn in range(ROUNDS + 1):
        order = rng.integers(images, size=READS).tolist()
        for name, read in readers.items():
            start = time.perf_counter()
            for image in order:
                read(image)
            if turn:  # the first round opens files and warms up
                seconds[name].append(time.perf_counter() - start)
    return {name: READS / float(np.median(times)) for name, times in seconds.items()}


def main() -> None:
    from benchmarks.__main__ import main as run_benchmarks

    run_benchmarks(["shards"])


if __name__ == "__main__":
    main()
