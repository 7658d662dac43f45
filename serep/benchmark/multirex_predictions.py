"""Predictions of the benchmark's videos: which file belongs to which video, and its meshes block by block, whatever the file's kind.

A folder holds one file a video, named `<sequence>#<camera>`: `.npy` or `.npz` meshes, `.npz` or `.pkl` FLAME parameters, or captures
(`<video>.npz`, or a folder `<video>/capture.npz` as `serep capture --out` leaves it).
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from serep.benchmark.multirex_assets import METRE
from serep.benchmark.multirex_flame import FlameModel, FlameParameters, read_flame_parameters
from serep.data.multirex_recordings import Recording
from serep.data.plain_data import UNREADABLE, npz_names, read_npz

SUFFIXES = (".npy", ".npz", ".pkl")
MESH_FOLDER, TRUTH_FOLDER = "decoded_flame_meshes", "multiface_gt"
UNITS = {"m": METRE, "mm": 1.0}
SHOWN = 5  # files named in one refusal


@dataclass(frozen=True, eq=False)
class StoredMeshes:
    """Meshes of one video, `scale` times which is mm; mapped into memory (.npy), or read at once (.npz).

    `lost` marks frames in which a capture found no face.
    """

    vertices: Float[np.ndarray, "T V 3"]
    scale: float
    lost: Bool[np.ndarray, " T"] | None = None

    @property
    def frame_count(self) -> int:
        return len(self.vertices)

    @property
    def vertex_count(self) -> int:
        return self.vertices.shape[1]

    def block(self, start: int, stop: int) -> Float[np.ndarray, "T V 3"]:
        return np.asarray(self.vertices[start:stop])


@dataclass(frozen=True, eq=False)
class DecodedMeshes:
    """FLAME parameters played on the person's given neutral (m)."""

    model: FlameModel
    parameters: FlameParameters
    neutral: Float[np.ndarray, "V 3"]
    scale: float = METRE
    lost: None = None

    @property
    def frame_count(self) -> int:
        return len(self.parameters.expressions)

    @property
    def vertex_count(self) -> int:
        return self.model.vertex_count

    def block(self, start: int, stop: int) -> Float[np.ndarray, "T V 3"]:
        one = self.parameters
        return self.model.decode(self.neutral, one.expressions[start:stop], one.jaw[start:stop], None if one.eyelids is None else one.eyelids[start:stop])


MeshSequence = StoredMeshes | DecodedMeshes


def open_prediction(path: Path, *, unit: str, flame: FlameModel | None, neutral: Float[np.ndarray, "V 3"] | None) -> MeshSequence:
    """The meshes of one file. `unit` is that of meshes in .npy and .npz; captures are in mm, and FLAME decodes on `neutral` (mm)."""
    if path.suffix == ".npy":
        return StoredMeshes(read_meshes(path), UNITS[unit])
    names = set(npz_names(path)) if path.suffix == ".npz" else {"expressions", "poses"}
    if {"vertices", "found"} <= names:
        from serep.models.capture_result import CaptureResult  # brings torch, which no other kind of file needs

        capture = CaptureResult.load(path)
        return StoredMeshes(capture.vertices, 1.0, ~capture.found)
    if {"expressions", "poses"} <= names:
        if flame is None:
            raise ValueError(f"{path} holds FLAME parameters: give the model that decodes them with --flame-model generic_model.pkl")
        if neutral is None or len(neutral) != flame.vertex_count:
            raise ValueError(f"{path} holds FLAME parameters, the neutral of this person is no FLAME mesh: leave --map out")
        return DecodedMeshes(flame, read_flame_parameters(path, flame), neutral / METRE)
    if "vertices" in names:
        return StoredMeshes(checked_meshes(read_npz(path)["vertices"], path), UNITS[unit])
    raise ValueError(f"{path} holds {', '.join(sorted(names))}: needs `vertices`, or FLAME's `expressions` and `poses`")


def read_meshes(path: Path) -> Float[np.ndarray, "T V 3"]:
    """A mapped .npy of meshes; ValueError naming the file when it is none."""
    try:
        return checked_meshes(np.load(path, allow_pickle=False, mmap_mode="r"), path)
    except UNREADABLE as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path} cannot be read as .npy ({error}): write it again with numpy.save, numbers only") from None


def checked_meshes(vertices: np.ndarray, path: Path) -> np.ndarray:
    if vertices.ndim != 3 or vertices.shape[2] != 3 or vertices.dtype.kind != "f" or not len(vertices):
        raise ValueError(f"{path} holds {vertices.dtype} {vertices.shape}: needs meshes (frames, vertices, 3) of floating-point numbers")
    return vertices


def find_truth(folder: Path, recordings: Sequence[Recording]) -> dict[str, Path]:
    """Sequence -> its `.npy`; FileNotFoundError naming those that are missing. The folder may be the one above `multiface_gt`."""
    folder = _inside(folder, TRUTH_FOLDER)
    found = {one.sequence: folder / f"{one.sequence}.npy" for one in recordings}
    missing = [path.name for path in found.values() if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"{len(missing)} of {len(found)} true sequences are missing in {folder}: {_named(missing)}; serep fetch multirex gets them")
    return found


def find_predictions(folder: Path, recordings: Sequence[Recording]) -> dict[str, Path]:
    """Video -> its file, in the order of the recordings; the folder may be the one above `decoded_flame_meshes`.

    Refused, with the files named: another subject set, an unknown camera, two files for one video, and missing videos.
    """
    folder = _inside(folder, MESH_FOLDER)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder of predictions {folder}")
    files = [path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES and path.is_file()]
    files += sorted(folder.glob("*/capture.npz"))
    if not files:
        raise FileNotFoundError(f"no predictions in {folder}: one {', '.join(SUFFIXES)} a video, named <sequence>#<camera>, or <video>/capture.npz")
    strangers: list[Path] = []
    by_video: dict[str, list[Path]] = {}
    for path in files:
        name = path.parent.name if path.name == "capture.npz" else path.stem
        own = next((one for one in recordings if one.sequence in name), None)
        if own is None:
            strangers.append(path)
            continue
        camera = re.match(r"#\d+", name.partition(own.sequence)[2])
        if camera is None or camera[0] not in own.cameras:
            seen = camera[0] if camera else "none"
            raise ValueError(f"{path} names camera {seen}, which did not film person {own.identity} (cameras {', '.join(own.cameras)}): rename or remove it")
        by_video.setdefault(own.sequence + camera[0], []).append(path)
    if strangers:
        raise ValueError(f"{_stranger(strangers[0], recordings)} ({len(strangers)} of {len(files)} files in {folder}: {_named(strangers)})")
    for video, paths in by_video.items():
        if len(paths) > 1:
            raise ValueError(f"two files for one video {video}: {paths[0]} and {paths[1]}; keep one")
        name = paths[0].parent.name if paths[0].name == "capture.npz" else paths[0].stem
        if name != video:
            raise ValueError(f"{paths[0]} must be named {video}{paths[0].suffix}, after its video and nothing else: rename it")
    missing = [video for one in recordings for video in one.videos if video not in by_video]
    if missing:
        raise FileNotFoundError(f"{len(missing)} of {len(missing) + len(by_video)} videos have no prediction in {folder}: {_named(missing)}; predict all")
    return {video: by_video[video][0] for one in recordings for video in one.videos}


def _stranger(path: Path, recordings: Sequence[Recording]) -> str:
    name = path.parent.name if path.name == "capture.npz" else path.stem
    person = re.search(r"--([^-#]+)--[^-#]*#", name)
    people = ", ".join(one.identity for one in recordings)
    if person is None:
        return f"{path} is not named after a video of the benchmark (<sequence>#<camera>): rename or remove it"
    if person[1] in {one.identity for one in recordings}:
        return f"{path} is of a performance of person {person[1]} that the benchmark does not use: remove it"
    return f"{path} is of person {person[1]}, who is not among the benchmark's {people}: predictions of another subject set?"


def _inside(folder: Path, name: str) -> Path:
    return folder / name if (folder / name).is_dir() else folder


def _named(names: Sequence[object]) -> str:
    return ", ".join(str(getattr(name, "name", name)) for name in names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
