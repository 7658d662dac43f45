"""What one part of the labelled images is before it is drawn, and what a drawn shard must hold."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from serep.data.blobs import check_store_url
from serep.data.schema import RENDER_ARRAYS
from serep.faces.head_model import SPLITS


@dataclass(frozen=True)
class PartSpec:
    """`plan_hash` stands for everything that decides the part's bytes. `code_hash`, for the code and libraries that draw, is not part of the result,
    but a resumed part keeps only shards of the same. `store` is the URL below which the shards lie; None: in the part's own folder."""

    part: str
    split: str
    images: int
    images_per_shard: int
    height_px: int
    width_px: int
    code_size: int
    landmark_ids: tuple[int, ...]
    plan_hash: str
    plan: Mapping[str, object]
    renderer: Mapping[str, str]
    libraries: Mapping[str, str] = field(default_factory=dict)
    code_hash: str = ""
    store: str | None = None

    def __post_init__(self) -> None:
        if self.images < 1 or self.images_per_shard < 1 or self.split not in SPLITS:
            raise ValueError(f"part {self.part}: {self.images} images in shards of {self.images_per_shard} for split {self.split!r}; "
                             f"give at least one of each and a split of {', '.join(SPLITS)}")
        if self.store is not None:
            check_store_url(self.store)

    @property
    def rows_per_file(self) -> int:
        return min(self.images_per_shard, self.images)

    @property
    def shards(self) -> int:
        return -(-self.images // self.rows_per_file)

    @property
    def sizes(self) -> dict[str, int]:
        """Length of each axis letter of RENDER_ARRAYS."""
        return {"N": self.images, "H": self.height_px, "W": self.width_px, "Z": self.code_size, "L": len(self.landmark_ids)}

    def images_of(self, shard: int) -> range:
        return range(shard * self.rows_per_file, min((shard + 1) * self.rows_per_file, self.images))


@dataclass(frozen=True)
class Recipe:
    """How an image's code came about: of which expressive heads (rows), and how much of each."""

    kind: str
    rows: tuple[int, ...]
    shares: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class DrawnImages:
    """The images of one shard: an array for each entry of RENDER_ARRAYS, and what goes into the index."""

    arrays: Mapping[str, np.ndarray]
    subject_ids: Sequence[str]
    expression_ids: Sequence[str]
    recipes: Sequence[Recipe]

    def check(self, spec: PartSpec, shard: int) -> None:
        """ValueError naming what does not fit the part."""
        images = spec.images_of(shard)
        for layout in RENDER_ARRAYS:
            expected = (len(images), *layout.shape(spec.sizes)[1:])
            values = self.arrays[layout.name]
            if values.shape != expected or values.dtype != np.dtype(layout.dtype):
                raise ValueError(f"shard {shard} of {spec.part}: {layout.name} is {values.dtype} {values.shape}, expected {layout.dtype} {expected}")
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                first = images.start + int(np.argwhere(~np.isfinite(values))[0, 0])
                raise ValueError(f"image {first} of {spec.part}: {layout.name} is not finite; look at the person and the code it was drawn from")
        counts = (len(self.subject_ids), len(self.expression_ids), len(self.recipes))
        if counts != (len(images),) * 3:
            raise ValueError(f"shard {shard} of {spec.part}: {counts[0]} subject ids, {counts[1]} expression ids and {counts[2]} recipes "
                             f"for {len(images)} images")
        if self.arrays["rgb"][self.arrays["mask"] == 0].any():
            raise ValueError(f"shard {shard} of {spec.part} has colour outside the mask; the renderer must leave it zero")
