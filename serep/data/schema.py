"""What is stored: Parquet schemas and Zarr array layouts, each field with its unit and meaning; used by writers, readers and tests."""
from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, ZstdCodec

from serep.files import partial_file

HEADS_FORMAT = "serep-heads/1"
RENDERS_FORMAT = "serep-renders/2"
INTAKE_FORMAT = "serep-intake/1"


@dataclass(frozen=True)
class ArrayLayout:
    """One Zarr array. `axes` are the project's axis letters, or a whole number where the length never varies."""

    name: str
    dtype: str
    axes: tuple[str | int, ...]
    unit: str
    description: str
    sharded: bool = False  # one chunk per row, many rows in one file

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        return tuple(axis if isinstance(axis, int) else sizes[axis] for axis in self.axes)


def _field(name: str, kind: pa.DataType, unit: str, description: str) -> pa.Field:
    return pa.field(name, kind, nullable=False, metadata={"unit": unit, "description": description})


MESHES = pa.schema([
    _field("kind", pa.string(), "-", "'neutral' or 'expressive': the array of meshes.zarr that holds the mesh"),
    _field("row", pa.int32(), "-", "row of the mesh in that array"),
    _field("subject_row", pa.int32(), "-", "row of the person's neutral in `neutrals`"),
    _field("subject_id", pa.string(), "-", "the person"),
    _field("split", pa.string(), "-", "train, val or test; a person is in one split only"),
    _field("expression_id", pa.string(), "-", "the expression; equal ids of two people mean the same expression; empty for a neutral"),
    _field("weights", pa.list_(pa.field("item", pa.float32(), nullable=False)), "0..1",
           "weight of each expression unit (names in the table's metadata); empty where unknown, as for scans"),
    _field("source_file", pa.string(), "-", "the file the mesh was read from; empty for a mesh drawn from a model"),
    _field("origin", pa.string(), "-", "where the person comes from (model or data set)"),
])

QUARANTINE = pa.schema([
    _field("subject_id", pa.string(), "-", "the person"),
    _field("file", pa.string(), "-", "the file, or the expression id where the mesh has no file; empty for the neutral of a model"),
    _field("reason", pa.string(), "-", "why the mesh was left out"),
])

RENDERS = pa.schema([
    _field("image", pa.int64(), "-", "number of the image in the part"),
    _field("shard", pa.int32(), "-", "number of the shard file that holds the image"),
    _field("split", pa.string(), "-", "train, val or test"),
    _field("subject_id", pa.string(), "-", "the person drawn"),
    _field("expression_id", pa.string(), "-", "the expression drawn"),
    _field("recipe", pa.string(), "-", "how the expression came about: 'own' (val, test), or a kind of serep.synthesis.codes (train)"),
    _field("recipe_rows", pa.list_(pa.field("item", pa.int32(), nullable=False)), "-", "rows of the expressive heads that it was made of"),
    _field("recipe_shares", pa.list_(pa.field("item", pa.float32(), nullable=False)), "-", "how much of each: 1 is all of it, the rest is neutral"),
    _field("seed", pa.int64(), "-", "number of the image in its split's random streams: default_rng([seed of the plan, split number, this])"),
    _field("rgb_sha256", pa.string(), "-", "SHA-256 of the shard file with the colours"),
    _field("mask_sha256", pa.string(), "-", "SHA-256 of the shard file with the masks"),
])

REAL_FACES = pa.schema([
    _field("crop", pa.int32(), "-", "row of the crop in `rgb`"),
    _field("file", pa.string(), "-", "the picture or video, below the folder that was taken in"),
    _field("frame", pa.int32(), "-", "number of the frame, 0 in a picture"),
    _field("split", pa.string(), "-", "train or test; all faces of one file, and of files that look alike, are on one side"),
    _field("box", pa.list_(pa.field("item", pa.float32(), nullable=False)), "px", "x0 y0 x1 y1 of the crop in the upright frame"),
    _field("face_px", pa.float32(), "px", "side of the square around the face's landmarks in the frame, found or estimated"),
    _field("landmarks", pa.list_(pa.field("item", pa.float32(), nullable=False)), "px",
           "x y of each of the landmark_ids (in the table's metadata) in the crop, NaN where not given; empty where no landmarks are given"),
    _field("placed_by", pa.string(), "-", "what told where the face is: 'landmarks', 'box' or 'found'"),
    _field("sharpness", pa.float32(), "-", "variance of the Laplacian over that of the brightness, of the landmark square at 64 px"),
    _field("duplicate_group", pa.int32(), "-", "number of the group of files that look alike; most files are alone in theirs"),
    _field("duplicates", pa.int32(), "-", "faces of the same file that were left out because they look like this one"),
])

INTAKE_QUARANTINE = pa.schema([
    _field("file", pa.string(), "-", "the file, below the folder that was taken in"),
    _field("faces", pa.int32(), "-", "faces left out; 0 for a whole file"),
    _field("reason", pa.string(), "-", "why"),
])

HEAD_ARRAYS = (
    ArrayLayout("neutrals", "float32", ("S", "V", 3), "mm", "neutral mesh of each person"),
    ArrayLayout("expressive", "float32", ("M", "V", 3), "mm", "expressive meshes of all people, in the order of the manifest"),
)
OPERATOR_ARRAYS = (
    ArrayLayout("vertex_areas", "float32", ("S", "V"), "mm2", "area around each vertex of the neutral: a third of its triangles"),
    ArrayLayout("face_areas", "float32", ("S", "F"), "mm2", "area of each triangle of the neutral"),
)
RENDER_ARRAYS = (
    ArrayLayout("rgb", "uint8", ("N", "H", "W", 3), "sRGB 0..255", "drawn image, zero outside the mask", sharded=True),
    ArrayLayout("mask", "uint8", ("N", "H", "W"), "0..255", "255 where the head is drawn, 0 elsewhere", sharded=True),
    ArrayLayout("codes", "float32", ("N", "Z"), "-", "expression code that made the mesh (train) or was encoded from it (val, test)"),
    ArrayLayout("landmarks", "float32", ("N", "L", 2), "px", "projected landmarks, in the order of the topology's landmark_ids"),
    ArrayLayout("intrinsics", "float32", ("N", 3, 3), "px", "camera matrix"),
    ArrayLayout("world_to_camera", "float32", ("N", 4, 4), "mm", "rigid motion from face coordinates to the OpenCV camera frame"),
    ArrayLayout("subject", "int32", ("N",), "-", "person: row in the heads (val, test) or number in the part (train)"),
    ArrayLayout("expression", "int32", ("N",), "-", "expression: row among the expressive heads; of a mixed one, that of its first"),
    ArrayLayout("seed", "int64", ("N",), "-", "number of the image in its split's random streams"),
)

REAL_FACE_ARRAYS = (ArrayLayout("rgb", "uint8", ("N", "H", "W", 3), "sRGB 0..255", "crop around a real face, with room for jitter", sharded=True),)


def create_array(group: zarr.Group, layout: ArrayLayout, sizes: Mapping[str, int], *, rows_per_file: int, codec_level: int) -> zarr.Array:
    """An empty array of `layout`. One file holds `rows_per_file` rows: one chunk, or as many one-row chunks when the layout is sharded.

    Bytes are a function of the contents: fixed codecs, no time stamps. Chunks that are all zero are stored, so that an absent one is a fault.
    """
    shape = layout.shape(sizes)
    rows = min(rows_per_file, max(shape[0], 1))
    tail = shape[1:]
    return group.create_array(
        layout.name, shape=shape, dtype=layout.dtype, chunks=(1 if layout.sharded else rows, *tail), shards=(rows, *tail) if layout.sharded else None,
        filters=(), serializer=BytesCodec(endian="little"), compressors=(ZstdCodec(level=codec_level), Crc32cCodec()), fill_value=0,
        dimension_names=[str(axis) for axis in layout.axes], attributes={"unit": layout.unit, "description": layout.description},
        config={"write_empty_chunks": True})


def write_table(path: Path, schema: pa.Schema, rows: Sequence[Mapping[str, object]], *, file_format: str, metadata: Mapping[str, object]) -> None:
    """Rows as Parquet with the schema's units and descriptions, and `metadata` (as JSON) for the whole table. Same rows, same bytes."""
    write_row_groups(path, schema, [rows], file_format=file_format, metadata=metadata)


def write_row_groups(path: Path, schema: pa.Schema, groups: Iterable[Sequence[Mapping[str, object]]], *, file_format: str,
                     metadata: Mapping[str, object]) -> None:
    """The same of rows that come in groups, one of which is in memory at a time."""
    table_metadata = {"format": file_format} | {key: json.dumps(value, sort_keys=True) for key, value in sorted(metadata.items())}
    described = schema.with_metadata(table_metadata)
    with partial_file(path) as partial, pq.ParquetWriter(partial, described, compression="zstd", compression_level=3, version="2.6", use_dictionary=True) as writer:
        for rows in groups:
            writer.write_table(pa.Table.from_pylist(list(rows), schema=described), row_group_size=65_536)


def read_table(path: Path, schema: pa.Schema, *, file_format: str, remedy: str) -> tuple[pa.Table, dict[str, object]]:
    """The table and its metadata; ValueError naming the fields that differ from `schema`. `remedy` tells what makes the file anew."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. {remedy}")
    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is not a readable Parquet file ({error}). {remedy}") from error
    found_metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    found_format = found_metadata.pop("format", "none")
    if found_format != file_format:
        raise ValueError(f"{path} has format {found_format!r}, this version reads {file_format!r}. {remedy}")
    problems = schema_differences(table.schema, schema)
    if problems:
        raise ValueError(f"{path} does not fit its schema: {'; '.join(problems)}. {remedy}")
    return table, {key: json.loads(value) for key, value in found_metadata.items() if key != "ARROW:schema"}


def schema_differences(found: pa.Schema, expected: pa.Schema) -> list[str]:
    """One phrase for each field that is missing, unknown or of another type."""
    problems = [f"no field {name!r}" for name in expected.names if name not in found.names]
    problems += [f"unknown field {name!r}" for name in found.names if name not in expected.names]
    problems += [f"field {name!r} is {found.field(name).type}, not {expected.field(name).type}" for name in expected.names
                 if name in found.names and not found.field(name).type.equals(expected.field(name).type)]
    return problems


def check_arrays(group: zarr.Group, layouts: Iterable[ArrayLayout], *, file: Path | str, remedy: str) -> dict[str, int]:
    """Compares the arrays of a store with their layouts and returns the length of each axis letter; ValueError naming what differs."""
    found = sorted(name for name, _ in group.arrays())
    sizes: dict[str, int] = {}
    for layout in layouts:
        if layout.name not in found:
            raise ValueError(f"{file} has no array {layout.name!r} (found: {', '.join(found) or 'none'}). {remedy}")
        array = group[layout.name]
        if str(array.dtype) != layout.dtype or len(array.shape) != len(layout.axes):
            raise ValueError(f"{file}: array {layout.name!r} is {array.dtype} {array.shape}, not {layout.dtype} {layout.axes}. {remedy}")
        for axis, length in zip(layout.axes, array.shape, strict=True):
            expected = axis if isinstance(axis, int) else sizes.setdefault(axis, length)
            if length != expected:
                raise ValueError(f"{file}: array {layout.name!r} has shape {array.shape}, but axis {axis} is {expected} long. {remedy}")
    return sizes
