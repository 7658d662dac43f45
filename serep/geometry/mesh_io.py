"""Meshes from and to files, with every unit and axis convention turned into ours at this border."""
from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import Int

from serep.geometry.mesh import Mesh
from serep.geometry.obj import obj_bytes, read_obj
from serep.geometry.ply import ply_bytes, read_ply

MM_PER_UNIT = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
AXES = {sign + name: factor * np.eye(3)[index] for sign, factor in (("", 1), ("+", 1), ("-", -1)) for index, name in enumerate("xyz")}


def read_mesh(path: str | Path, *, unit: str = "mm", up: str = "y", front: str = "z") -> Mesh:
    """A mesh in mm, y up, z out of the face, from .obj, .ply or .npz (arrays `vertices`, `faces`; −1 as the last corner of triangles).

    `unit` is mm, cm or m; `up` and `front` name the file's axes ("z", "-y") that point to the top of the head and out of the face.
    Vertices keep the file's order; polygons are split as a fan from their first corner. FileNotFoundError when there is no such file;
    ValueError, naming the file and the place in it, when it cannot be read as a mesh.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no mesh {path}: check the path (found beside it: {_meshes_beside(path)})")
    if unit not in MM_PER_UNIT:
        raise ValueError(f"unit must be one of {', '.join(MM_PER_UNIT)}, got {unit!r}")
    if up not in AXES or front not in AXES or AXES[up] @ AXES[front] != 0:
        raise ValueError(f"up and front must be two different axes out of x, y, z, -x, -y, -z, got up={up!r}, front={front!r}")
    match path.suffix.lower():
        case ".obj":
            vertices, groups = read_obj(path)
            faces = _fans(groups)
        case ".ply":
            vertices, groups = read_ply(path)
            faces = _fans(groups)
        case ".npz":
            vertices, faces = _read_npz(path)
        case suffix:
            raise ValueError(f"{path} has the suffix {suffix!r}; meshes are read from .obj, .ply and .npz")
    file_to_ours = np.stack([np.cross(AXES[up], AXES[front]), AXES[up], AXES[front]])
    vertices = vertices * MM_PER_UNIT[unit]
    if not np.array_equal(file_to_ours, np.eye(3)):
        vertices = vertices @ file_to_ours.T
    try:
        return Mesh(vertices, faces)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None


def _meshes_beside(path: Path) -> str:
    names = sorted(other.name for other in path.parent.glob("*") if other.suffix.lower() in (".obj", ".ply", ".npz")) if path.parent.is_dir() else []
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "") or "no meshes"


def _read_npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            missing = {"vertices", "faces"} - set(arrays.files)
            if missing:
                raise ValueError(f"it has no array {', '.join(sorted(missing))} (found: {', '.join(arrays.files)})")
            vertices, faces = arrays["vertices"], arrays["faces"]
        if vertices.ndim != 2 or vertices.shape[1] != 3 or not np.isfinite(vertices).all():
            raise ValueError(f"vertices must be finite and of the shape (V, 3), got {vertices.shape}")
        return vertices.astype(np.float64), triangulate(faces)
    except (ValueError, zipfile.BadZipFile, EOFError) as problem:
        raise ValueError(f"{path} cannot be read as a mesh: {problem}") from None


def triangulate(polygons: Int[np.ndarray, "P sides"]) -> Int[np.ndarray, "F 3"]:
    """Triangles 0-1-2, 0-2-3, … of each polygon in turn; −1 after the last corner of polygons with fewer corners than columns."""
    if polygons.ndim != 2 or polygons.shape[1] < 3 or not np.issubdtype(polygons.dtype, np.integer):
        raise ValueError(f"polygons must be integers of the shape (P, 3) or more columns, got {polygons.dtype} {polygons.shape}")
    used = polygons >= 0
    if not used[:, :3].all() or (used[:, 1:] & ~used[:, :-1]).any():
        bad = int(np.argmax(~used[:, :3].all(axis=1) | (used[:, 1:] & ~used[:, :-1]).any(axis=1)))
        raise ValueError(f"polygon {bad} is {polygons[bad].tolist()}: a polygon has at least 3 corners, and −1 only after them")
    second = np.arange(1, polygons.shape[1] - 1)
    fans = np.stack([np.broadcast_to(polygons[:, :1], (len(polygons), len(second))), polygons[:, second], polygons[:, second + 1]], axis=-1)
    return fans[used[:, 2:]].astype(np.int32)


def _fans(groups: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Triangles of polygons that come in groups of equal corner counts, in the order of the polygons in the file."""
    if len(groups) == 1:
        return triangulate(groups[0][1])
    rows = np.concatenate([np.repeat(rows, corners.shape[1] - 2) for rows, corners in groups])
    return np.concatenate([triangulate(corners) for _, corners in groups])[np.argsort(rows, kind="stable")]


def write_mesh(path: str | Path, mesh: Mesh) -> None:
    """Writes .obj (nine digits) or .ply (binary, float32) in mm; the file appears when it is complete, its folder is made."""
    path = Path(path)
    writers = {".obj": obj_bytes, ".ply": ply_bytes}
    if path.suffix.lower() not in writers:
        raise ValueError(f"{path} has the suffix {path.suffix!r}; meshes are written as .obj or .ply")
    content = writers[path.suffix.lower()](mesh)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    os.replace(partial, path)
