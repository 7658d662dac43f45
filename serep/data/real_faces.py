"""Crops of real faces on disk: faces.parquet (the index), crops.zarr, quarantine.parquet (what was left out, and why)."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr
from jaxtyping import Float, UInt8

from serep.data.schema import INTAKE_FORMAT, INTAKE_QUARANTINE, REAL_FACE_ARRAYS, REAL_FACES, check_arrays, create_array, read_table, write_table
from serep.faces.landmark_ids import LANDMARK_IDS

INDEX_FILE, CROPS_FILE, QUARANTINE_FILE = "faces.parquet", "crops.zarr", "quarantine.parquet"
ROWS_PER_FILE, CODEC_LEVEL = 256, 3
REMEDY = "Run: dvc repro intake"


@dataclass(frozen=True, eq=False)
class RealFaces:
    """Crops of real faces, as training reads them; `write_real_faces` stored them."""

    images: UInt8[np.ndarray, "N S S 3"]
    landmarks: Float[np.ndarray, "N L 2"]
    """px of the crop, in the order of `landmark_ids`; NaN where not given."""
    landmark_ids: tuple[int, ...]
    cover: float
    """Side of the crop over that of the square around the landmarks, whose middle is the crop's."""

    @staticmethod
    def read(folder: Path, split: str) -> RealFaces:
        """The faces of one split of a folder that the intake wrote, maybe none; FileNotFoundError or ValueError for anything else."""
        folder = Path(folder)
        table, metadata = read_table(folder / INDEX_FILE, REAL_FACES, file_format=INTAKE_FORMAT, remedy=REMEDY)
        store = folder / CROPS_FILE
        if not (store / "zarr.json").is_file():
            raise FileNotFoundError(f"{store} is missing. {REMEDY}")
        group = zarr.open_group(store, mode="r")
        sizes = check_arrays(group, REAL_FACE_ARRAYS, file=store, remedy=REMEDY)
        if sizes["N"] != len(table):
            raise ValueError(f"{store} holds {sizes['N']} crops, the index {len(table)}. {REMEDY}")
        ids = tuple(metadata["landmark_ids"])
        rows = [row for row in table.to_pylist() if row["split"] == split]
        unknown = np.full((len(ids), 2), np.nan, np.float32)
        landmarks = [np.array(row["landmarks"], np.float32).reshape(-1, 2) if row["landmarks"] else unknown for row in rows]
        images = np.stack([group["rgb"][row["crop"]] for row in rows]) if rows else np.zeros((0, sizes["H"], sizes["W"], 3), np.uint8)
        return RealFaces(images, np.stack(landmarks) if rows else np.zeros((0, len(ids), 2), np.float32), ids, float(metadata["settings"]["cover"]))


def write_real_faces(
    folder: Path, crops: UInt8[np.ndarray, "N S S 3"], rows: Sequence[Mapping[str, object]], aside: Sequence[Mapping[str, object]], *, settings: Mapping
) -> None:
    """Fills a folder: crops with their rows of REAL_FACES, and rows of INTAKE_QUARANTINE. The same faces give the same bytes."""
    group = zarr.open_group(folder / CROPS_FILE, mode="w", zarr_format=3, attributes={"format": INTAKE_FORMAT})
    sizes = {"N": len(crops), "H": crops.shape[1], "W": crops.shape[2]}
    array = create_array(group, REAL_FACE_ARRAYS[0], sizes, rows_per_file=ROWS_PER_FILE, codec_level=CODEC_LEVEL)
    for start in range(0, len(crops), ROWS_PER_FILE):
        array[start:start + ROWS_PER_FILE] = crops[start:start + ROWS_PER_FILE]
    metadata = {"settings": dict(settings), "landmark_ids": list(LANDMARK_IDS)}
    write_table(folder / INDEX_FILE, REAL_FACES, rows, file_format=INTAKE_FORMAT, metadata=metadata)
    write_table(folder / QUARANTINE_FILE, INTAKE_QUARANTINE, aside, file_format=INTAKE_FORMAT, metadata={})


def read_left_out(folder: Path) -> list[dict[str, object]]:
    """What the intake left out, and why: rows of INTAKE_QUARANTINE."""
    return read_table(Path(folder) / QUARANTINE_FILE, INTAKE_QUARANTINE, file_format=INTAKE_FORMAT, remedy=REMEDY)[0].to_pylist()
