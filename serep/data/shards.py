"""The render store: one folder per part, drawn shard by shard so that a killed run resumes, and read so that damage is never taken for an image.

    <part>/images.zarr       Zarr 3 group; arrays of serep.data.schema.RENDER_ARRAYS, `images_per_shard` images in one file
    <part>/index.parquet     one row per image (serep.data.schema.RENDERS), one row group per shard
    <part>/part.json         plan, renderer, library versions, and size and SHA-256 of every other file
    <part>/records.partial/  who drew what: plan and code, and for each finished shard its files. Not part of the result

While it is drawn the folder is called <part>.partial. With a store (PartSpec.store) all this lies at <store>/<part>/<plan hash>, where a finished part has
a part.json, and <part> itself holds only the index and part.json, whose checksums make the bytes at the URL as good as here. Parts of other plans stay there:
an earlier version that DVC checks out needs its shards. tools/prune_renders.py deletes what no version needs.
"""
from __future__ import annotations

import io
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import zarr
from zarr.storage import MemoryStore

from serep.data.blobs import BlobStore
from serep.data.part_files import digest
from serep.data.part_spec import DrawnImages, PartSpec, Recipe
from serep.data.render_part import IMAGES_FILE, INDEX_FILE, LABELS, PART_FILE, READERS, RenderPart, open_part, remedy_of, shard_file_name
from serep.data.schema import RENDER_ARRAYS, RENDERS, RENDERS_FORMAT, create_array, write_row_groups
from serep.data.shard_file import CODEC_LEVEL, encode_chunk, encode_shard

__all__ = ["LABELS", "DrawnImages", "PartSpec", "Recipe", "RenderPart", "begin_part", "find_aid", "finish_part", "open_part", "part_store", "partial_folder",
           "write_aid", "write_part", "write_shard"]

logger = logging.getLogger(__name__)

RECORDS = "records.partial"  # a name that git and DVC leave out
PLAN_FILE = f"{RECORDS}/plan.json"


def partial_folder(folder: Path) -> Path:
    return folder.with_name(folder.name + ".partial")


def part_store(folder: Path, spec: PartSpec) -> BlobStore:
    """Where the part is drawn. At a URL each plan has a place of its own: a worker that a killed run left behind cannot write into another plan's."""
    if spec.store is None:
        return BlobStore(str(partial_folder(folder)))
    return BlobStore(spec.store).child(f"{spec.part}/{spec.plan_hash[:16]}")


def begin_part(folder: Path, spec: PartSpec) -> list[int]:
    """Makes the place ready and returns the shards still to draw. What another plan or other code drew there, and shards whose bytes changed, go."""
    store = part_store(folder, spec)
    if spec.store is None:
        _reopen(folder, spec)
    found = store.sizes()
    if found and _plan_of(store, found) != _identity(spec):
        logger.info("%s is not what this plan and code draw: deleted", store.place)
        store.clear()
        found = {}
    if not found:
        for name, data in _metadata(spec).items():
            store.write(f"{IMAGES_FILE}/{name}", data)
        _write_json(store, PLAN_FILE, _identity(spec))  # last: a place without it is made anew
    with ThreadPoolExecutor(READERS) as pool:
        finished = list(pool.map(lambda shard: _is_finished(store, spec, shard, found), range(spec.shards)))
    missing = [shard for shard in range(spec.shards) if not finished[shard]]
    if len(missing) < spec.shards:
        logger.info("%s: %d of %d shards are finished already", store.place, spec.shards - len(missing), spec.shards)
    return missing


def write_shard(folder: Path, spec: PartSpec, shard: int, drawn: DrawnImages) -> None:
    """Writes one whole shard and then its record. May run in any process that sees the place; RuntimeError where it does not."""
    store = part_store(folder, spec)
    drawn.check(spec, shard)
    try:
        plan = json.loads(store.read(PLAN_FILE))
    except FileNotFoundError as error:
        raise RuntimeError(f"this worker does not see {store.place}, or another run has deleted it. Workers on several machines need a store that all of "
                           "them reach (params: render.store), such as s3://bucket/prefix; memory:// is seen by one process only") from error
    if plan != _identity(spec):
        raise RuntimeError(f"{store.place} belongs to another run by now; this one must stop. Only one run may draw a part")
    files = {}
    for layout in RENDER_ARRAYS:
        encode = encode_shard if layout.sharded else encode_chunk
        data = encode(drawn.arrays[layout.name], rows_per_file=spec.rows_per_file)
        store.write(shard_file_name(layout, shard), data)
        files[shard_file_name(layout, shard)] = digest(data)
    _write_json(store, _record_name(shard), {
        "plan_hash": spec.plan_hash, "shard": shard, "files": files, "seed": np.asarray(drawn.arrays["seed"]).tolist(), "subject_ids": list(drawn.subject_ids),
        "expression_ids": list(drawn.expression_ids), "recipes": [[recipe.kind, recipe.rows, recipe.shares] for recipe in drawn.recipes]})


def finish_part(folder: Path, spec: PartSpec) -> None:
    """Writes index and description and gives the folder its name, replacing an older part; RuntimeError when a shard is missing."""
    store, partial = part_store(folder, spec), partial_folder(folder)
    if spec.store is not None:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    _describe(store, partial, spec)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def write_part(folder: Path, spec: PartSpec, draw: Callable[[range], DrawnImages]) -> None:
    """Draws what is missing of a part, one shard after the other, and finishes it."""
    for shard in begin_part(folder, spec):
        write_shard(folder, spec, shard, draw(spec.images_of(shard)))
    finish_part(folder, spec)


def write_aid(folder: Path, spec: PartSpec, name: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Arrays that every worker of a begun part needs; they lie among its records."""
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    part_store(folder, spec).write(f"{RECORDS}/{name}.npz", stream.getvalue())


def find_aid(folder: Path, spec: PartSpec, name: str) -> dict[str, np.ndarray] | None:
    """What `write_aid` wrote under that name for this part, or for a part that lies beside it in a folder; None where there is none."""
    own = part_store(folder, spec)
    beside = [] if own.folder is None else [BlobStore(str(file.parents[1])) for file in sorted(folder.parent.glob(f"*/{RECORDS}/{name}.npz"))]
    for store in (own, *beside):
        try:
            data = store.read(f"{RECORDS}/{name}.npz")
        except FileNotFoundError:
            continue
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return dict(arrays)
    return None


def _identity(spec: PartSpec) -> dict[str, str]:
    return {"plan_hash": spec.plan_hash, "code_hash": spec.code_hash}


def _plan_of(store: BlobStore, found: Mapping[str, int]) -> dict[str, str]:
    return json.loads(store.read(PLAN_FILE)) if PLAN_FILE in found else {}


def _reopen(folder: Path, spec: PartSpec) -> None:
    """A finished part that this plan and code drew goes back to work: a run that was killed after it loses nothing. Needs `persist: true` in dvc.yaml."""
    finished = BlobStore(str(folder))
    if not partial_folder(folder).exists() and (folder / PLAN_FILE).is_file() and _plan_of(finished, {PLAN_FILE: 0}) == _identity(spec):
        folder.rename(partial_folder(folder))


def _metadata(spec: PartSpec) -> dict[str, bytes]:
    """Zarr's own description of the group and its arrays."""
    files: dict[str, zarr.core.buffer.Buffer] = {}
    group = zarr.open_group(MemoryStore(files), mode="w", zarr_format=3, attributes={"format": RENDERS_FORMAT, "plan_hash": spec.plan_hash})
    for layout in RENDER_ARRAYS:
        create_array(group, layout, spec.sizes, rows_per_file=spec.rows_per_file, codec_level=CODEC_LEVEL)
    return {name: content.to_bytes() for name, content in files.items()}


def _record_name(shard: int) -> str:
    return f"{RECORDS}/{shard:06d}.json"


def _is_finished(store: BlobStore, spec: PartSpec, shard: int, found: Mapping[str, int]) -> bool:
    name = _record_name(shard)
    if name not in found:
        return False
    record = json.loads(store.read(name))
    if record["plan_hash"] == spec.plan_hash and all(
            found.get(file) == expected["bytes"] and digest(store.read(file)) == expected for file, expected in record["files"].items()):
        return True
    store.delete(name)
    return False


def _describe(store: BlobStore, folder: Path, spec: PartSpec) -> None:
    """Index and part.json, from the records alone, into `folder`, and to the store's URL."""
    files: dict[str, dict[str, object]] = {}

    def rows() -> Iterator[list[dict[str, object]]]:
        with ThreadPoolExecutor(READERS) as pool:
            for shard, record in enumerate(pool.map(lambda shard: _record(store, spec, shard), range(spec.shards))):
                files.update(record["files"])
                hashes = {f"{layout.name}_sha256": record["files"][shard_file_name(layout, shard)]["sha256"] for layout in RENDER_ARRAYS if layout.sharded}
                yield [{"image": image, "shard": shard, "split": spec.split, "subject_id": subject, "expression_id": expression, "recipe": kind,
                        "recipe_rows": expressive, "recipe_shares": shares, "seed": seed} | hashes
                       for image, subject, expression, (kind, expressive, shares), seed in zip(
                           spec.images_of(shard), record["subject_ids"], record["expression_ids"], record["recipes"], record["seed"], strict=True)]

    write_row_groups(folder / INDEX_FILE, RENDERS, rows(), file_format=RENDERS_FORMAT, metadata={"part": spec.part, "plan_hash": spec.plan_hash})
    index = (folder / INDEX_FILE).read_bytes()
    files |= {f"{IMAGES_FILE}/{name}": digest(data) for name, data in _metadata(spec).items()} | {INDEX_FILE: digest(index)}
    description = {name: value for name, value in asdict(spec).items() if name not in ("code_hash", "store")}
    if spec.store is not None:
        description["url"] = store.place
        store.write(INDEX_FILE, index)
    description |= {"format": RENDERS_FORMAT, "files": files}
    _write_json(store, PART_FILE, description)
    _write_json(BlobStore(str(folder)), PART_FILE, description)


def _record(store: BlobStore, spec: PartSpec, shard: int) -> dict:
    try:
        return json.loads(store.read(_record_name(shard)))
    except FileNotFoundError as error:
        raise RuntimeError(f"{store.where(_record_name(shard))} is missing: shard {shard} of {spec.shards} was not drawn. {remedy_of(spec.part)}") from error


def _write_json(store: BlobStore, name: str, content: Mapping[str, object]) -> None:
    store.write(name, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())
