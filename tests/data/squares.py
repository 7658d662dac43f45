"""A part of random squares: small, quick, and different in every image."""
import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from serep.data.schema import RENDER_ARRAYS
from serep.data.shards import DrawnImages, PartSpec, Recipe


def tiny_spec(**changes) -> PartSpec:
    spec = PartSpec(part="train-0", split="train", images=10, images_per_shard=4, height_px=12, width_px=16, code_size=5, landmark_ids=(13, 14, 61),
                    plan_hash="plan-a", plan={"seed": 1}, renderer={"name": "squares"})
    return dataclasses.replace(spec, **changes)


def draw_squares(images: range, seed: int = 1) -> DrawnImages:
    """Random squares: image k depends on (seed, k) only, as every drawing must."""
    arrays = {layout.name: [] for layout in RENDER_ARRAYS}
    for image in images:
        rng = np.random.default_rng([seed, 0, image])
        mask = np.zeros((12, 16), np.uint8)
        mask[2:9, 3 : 8 + image % 5] = 255
        rgb = rng.integers(1, 256, (12, 16, 3), np.uint8) * (mask[..., None] > 0)
        values = {"rgb": rgb, "mask": mask, "codes": rng.normal(size=5), "landmarks": rng.uniform(0, 12, (3, 2)), "intrinsics": np.eye(3),
                  "world_to_camera": np.eye(4), "subject": image // 3, "expression": image % 2, "seed": image}
        for name, value in values.items():
            arrays[name].append(value)
    stacked = {layout.name: np.asarray(arrays[layout.name]).astype(layout.dtype) for layout in RENDER_ARRAYS}
    recipes = [Recipe("summed", (image, 0), (1.0, 0.5)) for image in images]
    return DrawnImages(stacked, [f"person-{image // 3}" for image in images], [f"smile-{image % 2}" for image in images], recipes)


def fingerprint(folder: Path) -> dict[str, str]:
    """Of the result: without the records of who drew it."""
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.rglob("*"))
            if file.is_file() and "records.partial" not in file.parts}
