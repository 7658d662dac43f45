"""Registered heads of many people on one topology: in memory (HeadSet) and as a folder (manifest.parquet, meshes.zarr, quarantine.parquet)."""
from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import zarr
from jaxtyping import Float32, Int32
from zarr.codecs import Crc32cCodec, ZstdCodec

from serep.data.schema import (
    HEAD_ARRAYS,
    HEADS_FORMAT,
    MESHES,
    OPERATOR_ARRAYS,
    QUARANTINE,
    check_arrays,
    create_array,
    read_table,
    write_table,
)
from serep.faces.head_model import SPLITS, Subject
from serep.faces.topology import FaceTopology

QuarantineRow = tuple[str, str, str]  # subject id, file or expression id, reason
MANIFEST_FILE, MESHES_FILE, QUARANTINE_FILE = "manifest.parquet", "meshes.zarr", "quarantine.parquet"
ROWS_PER_FILE = 64
CODEC_LEVEL = 3


@dataclass(frozen=True, eq=False)
class HeadSet:
    """Neutrals and expressive meshes of S people, all on one topology, in mm."""

    topology: FaceTopology
    neutrals: Float32[np.ndarray, "S V 3"]
    subject_ids: tuple[str, ...]
    subject_splits: tuple[str, ...]
    expressive: Float32[np.ndarray, "M V 3"]
    expression_subject: Int32[np.ndarray, " M"]  # row in neutrals
    expression_ids: tuple[str, ...]
    weights: Float32[np.ndarray, "M E"]  # (M, 0) where nobody knows them, as for scans
    expression_names: tuple[str, ...]
    provenance: dict[str, str]
    subject_origins: tuple[str, ...] = ()
    neutral_files: tuple[str, ...] = ()
    expressive_files: tuple[str, ...] = ()
    shares_frame: bool = False  # whether the neutrals stood in one frame from the start, as those of a model do and scans do not
    vertex_areas: Float32[np.ndarray, "S V"] | None = field(default=None)  # of the neutrals; None before preprocessing
    face_areas: Float32[np.ndarray, "S F"] | None = field(default=None)

    def __post_init__(self) -> None:
        people, meshes = len(self.neutrals), len(self.expressive)
        for name in ("subject_origins", "neutral_files", "expressive_files"):
            if not getattr(self, name):
                object.__setattr__(self, name, ("",) * (meshes if name == "expressive_files" else people))
        for name, expected in [("subject_ids", people), ("subject_splits", people), ("subject_origins", people), ("neutral_files", people),
                               ("expression_subject", meshes), ("expression_ids", meshes), ("weights", meshes), ("expressive_files", meshes)]:
            if len(getattr(self, name)) != expected:
                raise ValueError(f"{name} has {len(getattr(self, name))} entries for {expected} meshes; give one for each")
        if people != len(set(self.subject_ids)):
            raise ValueError(f"subject ids repeat: {sorted({name for name in self.subject_ids if self.subject_ids.count(name) > 1})}")
        if unknown := set(self.subject_splits) - set(SPLITS):
            raise ValueError(f"unknown splits {sorted(unknown)}; use {', '.join(SPLITS)}")
        if meshes and not (0 <= self.expression_subject.min() and self.expression_subject.max() < people):
            raise ValueError(f"expression_subject names rows {self.expression_subject.min()} to {self.expression_subject.max()} of {people} neutrals")
        vertices = len(self.topology.template)
        if self.neutrals.shape[1] != vertices or self.expressive.shape[1] != vertices:
            raise ValueError(f"topology {self.topology.name} has {vertices} vertices, "
                             f"the meshes {self.neutrals.shape[1]} and {self.expressive.shape[1]}")

    def select(self, split: str) -> HeadSet:
        """The people of one split, renumbered from 0."""
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}; use {', '.join(SPLITS)}")
        return self.take([row for row, name in enumerate(self.subject_splits) if name == split])

    def rows_by_expression(self, person: int) -> dict[str, int]:
        """Rows of a person's expressive meshes by the expression's id, in the order of the meshes."""
        return {self.expression_ids[row]: int(row) for row in np.flatnonzero(self.expression_subject == person)}

    def shared_expressions(self, people: Sequence[int] | None = None) -> list[str]:
        """Ids of expressions that each of these people (everybody) performs, in the first one's order; none where there are fewer than two people."""
        performed = [self.rows_by_expression(person) for person in (range(len(self.neutrals)) if people is None else people)]
        return [name for name in performed[0] if all(name in rows for rows in performed[1:])] if len(performed) > 1 else []

    def take(self, people: Sequence[int], *, without: Iterable[int] = ()) -> HeadSet:
        """The given people (rows of neutrals) with their expressive meshes, except the meshes `without` (rows of expressive); renumbered."""
        new_row = np.full(len(self.neutrals), -1, np.int32)
        new_row[list(people)] = np.arange(len(people), dtype=np.int32)
        left_out = set(without)
        meshes = [row for row, person in enumerate(self.expression_subject) if new_row[person] >= 0 and row not in left_out]

        def of_people(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(values[row] for row in people)

        return replace(
            self, neutrals=self.neutrals[list(people)], subject_ids=of_people(self.subject_ids), subject_splits=of_people(self.subject_splits),
            subject_origins=of_people(self.subject_origins), neutral_files=of_people(self.neutral_files),
            expressive=self.expressive[meshes], expression_subject=new_row[self.expression_subject[meshes]], weights=self.weights[meshes],
            expression_ids=tuple(self.expression_ids[row] for row in meshes), expressive_files=tuple(self.expressive_files[row] for row in meshes),
            vertex_areas=None if self.vertex_areas is None else self.vertex_areas[list(people)],
            face_areas=None if self.face_areas is None else self.face_areas[list(people)])


def gather_heads(subjects: Iterable[Subject], *, topology: FaceTopology, expression_names: tuple[str, ...],
                 provenance: dict[str, str], shares_frame: bool = False) -> tuple[HeadSet, list[QuarantineRow]]:
    """One HeadSet from a head model's people, and what its reader could not use; a person without a neutral is left out."""
    everybody = list(subjects)
    problems = [(person.subject_id, file, reason) for person in everybody for file, reason in person.problems]
    people = [person for person in everybody if len(person.neutral)]
    if not people:
        raise ValueError(f"the source of heads has nobody with a neutral that can be read: {problems[:3] or 'it is empty'}")
    vertices, units = len(topology.template), max(person.weights.shape[1] for person in people)
    empty_meshes, empty_weights = np.zeros((0, vertices, 3), np.float32), np.zeros((0, units), np.float32)
    # A reader lists the neutral's file first; models have no files at all.
    files = [person.source_files or ("",) * (1 + len(person.expression_ids)) for person in people]
    for person, names in zip(people, files, strict=True):
        if len(names) != 1 + len(person.expression_ids):
            raise ValueError(f"{person.subject_id} has {len(names)} source files for 1 neutral and {len(person.expression_ids)} expressions")
    heads = HeadSet(
        topology=topology,
        neutrals=np.stack([person.neutral for person in people]).astype(np.float32),
        subject_ids=tuple(person.subject_id for person in people),
        subject_splits=tuple(person.split for person in people),
        expressive=np.concatenate([empty_meshes, *(person.expressive for person in people)]).astype(np.float32),
        expression_subject=np.repeat(np.arange(len(people), dtype=np.int32), [len(person.expression_ids) for person in people]),
        expression_ids=tuple(name for person in people for name in person.expression_ids),
        weights=np.concatenate([empty_weights, *(person.weights for person in people)]).astype(np.float32),
        expression_names=expression_names, provenance=provenance, shares_frame=shares_frame,
        subject_origins=tuple(person.origin for person in people),
        neutral_files=tuple(names[0] for names in files), expressive_files=tuple(name for names in files for name in names[1:]))
    return heads, problems


def write_heads(folder: Path, head_set: HeadSet, *, quarantine: Sequence[QuarantineRow]) -> None:
    """Writes the folder, replacing any older one. The same heads give the same bytes."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    sizes = {"S": len(head_set.neutrals), "M": len(head_set.expressive), "V": len(head_set.topology.template), "F": len(head_set.topology.faces)}
    layouts = HEAD_ARRAYS + (OPERATOR_ARRAYS if head_set.vertex_areas is not None else ())
    group = zarr.open_group(partial / MESHES_FILE, mode="w", zarr_format=3, attributes={"format": HEADS_FORMAT})
    for layout in layouts:
        array = create_array(group, layout, sizes, rows_per_file=ROWS_PER_FILE, codec_level=CODEC_LEVEL)
        values = getattr(head_set, layout.name)
        if values.shape != array.shape:
            raise ValueError(f"{layout.name} has shape {values.shape}, expected {array.shape}")
        array[...] = values
    _write_topology(group, head_set.topology)
    metadata = {"provenance": head_set.provenance, "expression_names": head_set.expression_names, "topology": head_set.topology.name,
                "shares_frame": head_set.shares_frame}
    write_table(partial / MANIFEST_FILE, MESHES, _manifest_rows(head_set), file_format=HEADS_FORMAT, metadata=metadata)
    rows = [{"subject_id": subject, "file": file, "reason": reason} for subject, file, reason in quarantine]
    write_table(partial / QUARANTINE_FILE, QUARANTINE, rows, file_format=HEADS_FORMAT, metadata={"provenance": head_set.provenance})
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def read_heads(folder: Path) -> HeadSet:
    """The heads of a folder written by write_heads; FileNotFoundError or ValueError naming the file and how to make it anew."""
    folder = Path(folder)
    remedy = "Run: dvc repro"
    table, metadata = read_table(folder / MANIFEST_FILE, MESHES, file_format=HEADS_FORMAT, remedy=remedy)
    store = folder / MESHES_FILE
    if not (store / "zarr.json").is_file():
        raise FileNotFoundError(f"{store} is missing. {remedy}")
    group = zarr.open_group(store, mode="r")
    layouts = HEAD_ARRAYS + (OPERATOR_ARRAYS if "vertex_areas" in group else ())
    sizes = check_arrays(group, layouts, file=store, remedy=remedy)
    arrays = {layout.name: _read_array(group, layout.name, store, remedy) for layout in layouts}
    rows = table.to_pylist()
    neutrals, meshes = [row for row in rows if row["kind"] == "neutral"], [row for row in rows if row["kind"] == "expressive"]
    for kind, found, expected in [("neutral", neutrals, sizes["S"]), ("expressive", meshes, sizes["M"])]:
        if [row["row"] for row in found] != list(range(expected)):
            raise ValueError(f"{folder / MANIFEST_FILE} lists {len(found)} {kind} meshes, {store} holds {expected}. {remedy}")
    units = len(meshes[0]["weights"]) if meshes else 0
    return HeadSet(
        topology=_read_topology(group, store, remedy), subject_ids=tuple(row["subject_id"] for row in neutrals),
        subject_splits=tuple(row["split"] for row in neutrals), expression_subject=np.array([row["subject_row"] for row in meshes], np.int32),
        expression_ids=tuple(row["expression_id"] for row in meshes),
        weights=np.array([row["weights"] for row in meshes], np.float32).reshape(len(meshes), units),
        expression_names=tuple(metadata["expression_names"]), provenance=dict(metadata["provenance"]),
        subject_origins=tuple(row["origin"] for row in neutrals), neutral_files=tuple(row["source_file"] for row in neutrals),
        expressive_files=tuple(row["source_file"] for row in meshes), shares_frame=bool(metadata.get("shares_frame", False)), **arrays)


def read_quarantine(folder: Path) -> list[QuarantineRow]:
    """What was left out of a heads folder, and why."""
    table, _ = read_table(Path(folder) / QUARANTINE_FILE, QUARANTINE, file_format=HEADS_FORMAT, remedy="Run: dvc repro")
    return [(row["subject_id"], row["file"], row["reason"]) for row in table.to_pylist()]


def _manifest_rows(heads: HeadSet) -> list[dict[str, object]]:
    def of_person(person: int) -> dict[str, object]:
        return {"subject_row": person, "subject_id": heads.subject_ids[person], "split": heads.subject_splits[person],
                "origin": heads.subject_origins[person]}

    neutrals = [of_person(row) | {"kind": "neutral", "row": row, "expression_id": "", "weights": [], "source_file": heads.neutral_files[row]}
                for row in range(len(heads.neutrals))]
    meshes = [of_person(int(heads.expression_subject[row])) | {
        "kind": "expressive", "row": row, "expression_id": heads.expression_ids[row], "weights": heads.weights[row].tolist(),
        "source_file": heads.expressive_files[row]} for row in range(len(heads.expressive))]
    return neutrals + meshes


def _read_array(group: zarr.Group, name: str, store: Path, remedy: str) -> np.ndarray:
    array = group[name]
    if array.nchunks_initialized != array.nchunks:  # Zarr would fill the gap with zeros
        raise ValueError(f"{store / name} has {array.nchunks_initialized} of {array.nchunks} chunk files. {remedy}")
    try:
        return array[...]
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{store / name} is damaged ({error}). {remedy}") from error


def _write_topology(group: zarr.Group, topology: FaceTopology) -> None:
    """Numbers as arrays, text as attributes: Zarr has no stable type for text."""
    stored = topology.to_arrays()
    text = {name: values.tolist() for name, values in stored.items() if values.dtype.kind == "U"}
    node = group.create_group("topology", attributes=text)
    for name, values in stored.items():
        if name not in text:
            node.create_array(name, data=values, chunks=tuple(max(length, 1) for length in values.shape),
                              compressors=(ZstdCodec(level=CODEC_LEVEL), Crc32cCodec()), config={"write_empty_chunks": True})


def _read_topology(group: zarr.Group, store: Path, remedy: str) -> FaceTopology:
    if "topology" not in group:
        raise ValueError(f"{store} has no group 'topology'. {remedy}")
    node = group["topology"]
    # Zarr lists a folder in the file system's order; masks keep the alphabet's on every machine.
    stored = {name: _read_array(node, name, store / "topology", remedy) for name in sorted(_array_names(node))}
    stored |= {name: np.array(values) for name, values in dict(node.attrs).items()}
    return FaceTopology.from_arrays(stored)


def _array_names(node: zarr.Group) -> list[str]:
    names = [name for name, _ in node.arrays()]
    return names + [f"{child}/{name}" for child, group in node.groups() for name in _array_names(group)]
