"""The render store: one folder per part, written shard by shard so that a killed run resumes, and read so that damage is never taken for an image.

    <part>/images.zarr    Zarr 3 group; arrays of serep.data.schema.RENDER_ARRAYS, `images_per_shard` images in one file
    <part>/index.parquet  one row per image (serep.data.schema.RENDERS)
    <part>/part.json      plan, renderer, library versions, and size and SHA-256 of every other file

While it is drawn the folder is called <part>.partial and holds records/<shard>.json for each finished shard, and the hash of the plan.
"""
from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import zarr

from serep.data.render_part import IMAGES_FILE, INDEX_FILE, LABELS, PART_FILE, RenderPart, digest, open_part, remedy_of, shard_file_name
from serep.data.schema import RENDER_ARRAYS, RENDERS, RENDERS_FORMAT, create_array, write_table
from serep.faces.head_model import SPLITS

__all__ = ["LABELS", "DrawnImages", "PartSpec", "RenderPart", "begin_part", "finish_part", "open_part", "partial_folder", "write_part", "write_shard"]

logger = logging.getLogger(__name__)

RECORDS, PLAN_FILE = "records", "plan.json"
CODEC_LEVEL = 1
LIBRARIES = ("numpy", "zarr", "numcodecs", "pyarrow")


@dataclass(frozen=True)
class PartSpec:
    """What a part is before it is drawn. `plan_hash` stands for everything that decides its bytes, `code_hash` for the code that draws:
    it is not part of the result, but a resumed part keeps only shards of the same code."""

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
    code_hash: str = ""

    def __post_init__(self) -> None:
        if self.images < 1 or self.images_per_shard < 1 or self.split not in SPLITS:
            raise ValueError(f"part {self.part}: {self.images} images in shards of {self.images_per_shard} for split {self.split!r}; "
                             f"give at least one of each and a split of {', '.join(SPLITS)}")

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


@dataclass(frozen=True, eq=False)
class DrawnImages:
    """The images of one shard: an array for each entry of RENDER_ARRAYS, and the names that go into the index."""

    arrays: Mapping[str, np.ndarray]
    subject_ids: Sequence[str]
    expression_ids: Sequence[str]


def partial_folder(folder: Path) -> Path:
    return folder.with_name(folder.name + ".partial")


def begin_part(folder: Path, spec: PartSpec) -> list[int]:
    """Makes the folder ready and returns the shards still to draw. Shards of another plan, and shards whose bytes changed since, are deleted."""
    partial = partial_folder(folder)
    plan_file = partial / RECORDS / PLAN_FILE
    if partial.exists():
        found = json.loads(plan_file.read_text()) if plan_file.is_file() else {}
        if (found.get("plan_hash"), found.get("code_hash")) != (spec.plan_hash, spec.code_hash):
            logger.info("%s is not what this plan draws: deleted", partial)
            shutil.rmtree(partial)
    if not partial.exists():
        (partial / RECORDS).mkdir(parents=True)
        group = zarr.open_group(partial / IMAGES_FILE, mode="w", zarr_format=3, attributes={"format": RENDERS_FORMAT, "plan_hash": spec.plan_hash})
        for layout in RENDER_ARRAYS:
            create_array(group, layout, spec.sizes, rows_per_file=spec.rows_per_file, codec_level=CODEC_LEVEL)
        _write_json(plan_file, {"plan_hash": spec.plan_hash, "code_hash": spec.code_hash})  # last: a folder without it is made anew
    missing = [shard for shard in range(spec.shards) if not _is_finished(partial, spec, shard)]
    if len(missing) < spec.shards:
        logger.info("%s: %d of %d shards are finished already", partial, spec.shards - len(missing), spec.shards)
    return missing


def write_shard(folder: Path, spec: PartSpec, shard: int, drawn: DrawnImages) -> None:
    """Writes one whole shard and then its record. May run in any process; two processes must not write the same shard."""
    partial, images = partial_folder(folder), spec.images_of(shard)
    _check_drawn(spec, shard, drawn)
    group = zarr.open_group(partial / IMAGES_FILE, mode="r+")
    for layout in RENDER_ARRAYS:
        # What a killed run left of this shard: Zarr would merge the last shard of a part, which is not full, with it.
        (partial / shard_file_name(layout, shard)).unlink(missing_ok=True)
        array = group[layout.name].with_config({"write_empty_chunks": True})  # not part of the stored metadata
        array[images.start:images.stop] = drawn.arrays[layout.name]
    files = {shard_file_name(layout, shard): digest(partial / shard_file_name(layout, shard)) for layout in RENDER_ARRAYS}
    _write_json(partial / RECORDS / f"{shard:06d}.json", {
        "plan_hash": spec.plan_hash, "shard": shard, "files": files, "seed": np.asarray(drawn.arrays["seed"]).tolist(),
        "subject_ids": list(drawn.subject_ids), "expression_ids": list(drawn.expression_ids)})


def finish_part(folder: Path, spec: PartSpec) -> None:
    """Writes index and description and gives the folder its name, replacing an older part; RuntimeError when a shard is missing."""
    partial = partial_folder(folder)
    _describe_files(partial, spec)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    shutil.rmtree(folder / RECORDS)


def write_part(folder: Path, spec: PartSpec, draw: Callable[[range], DrawnImages]) -> None:
    """Draws what is missing of a part, one shard after the other, and finishes it."""
    for shard in begin_part(folder, spec):
        write_shard(folder, spec, shard, draw(spec.images_of(shard)))
    finish_part(folder, spec)


def _describe_files(partial: Path, spec: PartSpec) -> None:
    files, rows = {}, []
    for shard in range(spec.shards):
        file = partial / RECORDS / f"{shard:06d}.json"
        if not file.is_file():
            raise RuntimeError(f"{file} is missing: shard {shard} of {spec.shards} was not drawn. {remedy_of(spec.part)}")
        record = json.loads(file.read_text())
        files |= record["files"]
        hashes = {f"{layout.name}_sha256": record["files"][shard_file_name(layout, shard)]["sha256"] for layout in RENDER_ARRAYS if layout.sharded}
        rows += [{"image": image, "shard": shard, "split": spec.split, "subject_id": subject, "expression_id": expression, "seed": seed} | hashes
                 for image, subject, expression, seed
                 in zip(spec.images_of(shard), record["subject_ids"], record["expression_ids"], record["seed"], strict=True)]
    write_table(partial / INDEX_FILE, RENDERS, rows, file_format=RENDERS_FORMAT, metadata={"part": spec.part, "plan_hash": spec.plan_hash})
    others = [INDEX_FILE, f"{IMAGES_FILE}/zarr.json", *(f"{IMAGES_FILE}/{layout.name}/zarr.json" for layout in RENDER_ARRAYS)]
    files |= {name: digest(partial / name) for name in others}
    libraries = {name: version(name) for name in LIBRARIES}
    description = {name: value for name, value in asdict(spec).items() if name != "code_hash"}
    _write_json(partial / PART_FILE, description | {"format": RENDERS_FORMAT, "libraries": libraries, "files": files})


def _is_finished(partial: Path, spec: PartSpec, shard: int) -> bool:
    file = partial / RECORDS / f"{shard:06d}.json"
    if not file.is_file():
        return False
    record = json.loads(file.read_text())
    if record["plan_hash"] != spec.plan_hash or not _is_intact(partial, record["files"]):
        file.unlink()
        return False
    return True


def _is_intact(folder: Path, files: Mapping[str, object]) -> bool:
    return all((folder / name).is_file() and digest(folder / name) == expected for name, expected in files.items())


def _check_drawn(spec: PartSpec, shard: int, drawn: DrawnImages) -> None:
    images = spec.images_of(shard)
    for layout in RENDER_ARRAYS:
        expected = (len(images), *layout.shape(spec.sizes)[1:])
        values = drawn.arrays[layout.name]
        if values.shape != expected or values.dtype != np.dtype(layout.dtype):
            raise ValueError(f"shard {shard} of {spec.part}: {layout.name} is {values.dtype} {values.shape}, expected {layout.dtype} {expected}")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            first = images.start + int(np.argwhere(~np.isfinite(values))[0, 0])
            raise ValueError(f"image {first} of {spec.part}: {layout.name} is not finite; look at the person and the code it was drawn from")
    if len(drawn.subject_ids) != len(images) or len(drawn.expression_ids) != len(images):
        raise ValueError(f"shard {shard} of {spec.part}: {len(drawn.subject_ids)} subject ids and {len(drawn.expression_ids)} expression ids "
                         f"for {len(images)} images")
    if drawn.arrays["rgb"][drawn.arrays["mask"] == 0].any():
        raise ValueError(f"shard {shard} of {spec.part} has colour outside the mask; the renderer must leave it zero")


def _write_json(file: Path, content: Mapping[str, object]) -> None:
    partial = file.with_name(file.name + ".partial")
    partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    partial.replace(file)
