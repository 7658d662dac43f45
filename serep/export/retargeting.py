"""Expressive meshes in, the same expressions on another neutral out: the files on both sides."""
from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from serep.export.gltf import even_reach, write_glb
from serep.files import write_file
from serep.geometry.mesh import Mesh
from serep.geometry.mesh_io import read_mesh, write_mesh
from serep.models.rig import Rig
from serep.models.store import npz_bytes

MESH_SUFFIXES = (".obj", ".ply")
FILE_SUFFIXES = (*MESH_SUFFIXES, ".npz", ".glb")
POSES_PER_SECOND = 2.0  # of separate expressions played one after another; frames that come with a rate keep it
FPS = 25.0  # of an .npz that names none
SAME_SIZE = (0.5, 2.0)  # expressive mesh over neutral: no expression does more, and no two units are nearer


@dataclass(frozen=True, eq=False)
class Expressions:
    """Expressive meshes of one person, vertices in mm. `fps` is None for separate meshes; `dropped` counts frames without a face."""

    names: list[str]
    vertices: Float[np.ndarray, "B V 3"]
    fps: float | None = None
    files: tuple[Path, ...] = ()
    dropped: int = 0

    def place(self, row: int) -> str:
        """What a message calls one of them."""
        return str(self.files[row]) if self.fps is None else f"{self.files[0]}, {self.names[row]}"


def read_expressions(
    source: Path, neutral: Mesh, *, neutral_file: Path, leave_out: Sequence[Path] = (), unit: str = "mm", up: str = "y", front: str = "z"
) -> Expressions:
    """One mesh, a folder's meshes in sorted order, or an .npz with vertices (T, V, 3), and optionally `fps`, `found` (T,) and `faces`.

    `leave_out` are files of the folder that are no expressions (its neutral). Arrays of an .npz are in mm and in our axes already.
    FileNotFoundError when there is nothing; ValueError, naming the file, for what cannot be read or does not belong to the neutral.
    """
    if source.suffix.lower() == ".npz" and source.is_file():
        found = _read_frames(source, neutral, neutral_file)
    else:
        files = _mesh_files(source, leave_out)
        meshes = [_read_expressive(file, neutral, neutral_file, unit=unit, up=up, front=front) for file in files]
        found = Expressions([file.stem for file in files], np.stack(meshes), files=tuple(files))
    _check_sizes(found, neutral, neutral_file)
    return found


def _mesh_files(source: Path, leave_out: Sequence[Path]) -> list[Path]:
    if not source.is_dir():
        return [source]
    excluded = {path.resolve() for path in leave_out}
    files = sorted(file for file in source.iterdir() if file.suffix.lower() in MESH_SUFFIXES and not file.name.startswith("."))
    files = [file for file in files if file.resolve() not in excluded]
    if not files:
        raise FileNotFoundError(f"the folder {source} holds no expressive mesh ({', '.join(MESH_SUFFIXES)})")
    by_name: dict[str, Path] = {}
    for file in files:
        if (first := by_name.setdefault(file.stem.lower(), file)) is not file:
            raise ValueError(f"{first} and {file} would both be written as {file.stem}.obj: give one of them another name")
    return files


def _read_expressive(file: Path, neutral: Mesh, neutral_file: Path, **axes: str) -> np.ndarray:
    mesh = read_mesh(file, **axes)
    if len(mesh.vertices) != len(neutral.vertices) or not np.array_equal(mesh.faces, neutral.faces):
        counts = f"{len(mesh.vertices)} vertices and {len(mesh.faces)} triangles against {len(neutral.vertices)} and {len(neutral.faces)}"
        raise ValueError(f"{file} has other faces than its neutral {neutral_file} ({counts}): both need one topology, with vertices in one order")
    unsound = ~np.isfinite(mesh.vertices).all(axis=1)
    if unsound.any():
        raise ValueError(f"{file}: {unsound.sum()} vertices are not finite (first: vertex {unsound.argmax()}); export it again")
    return mesh.vertices


def _read_frames(path: Path, neutral: Mesh, neutral_file: Path) -> Expressions:
    arrays = _arrays(path)
    vertices = arrays["vertices"]
    if vertices.ndim != 3 or vertices.shape[2] != 3 or vertices.dtype.kind != "f":
        raise ValueError(f"{path}: vertices must be floating-point numbers of the shape (T, V, 3) in mm, got {vertices.dtype} {vertices.shape}")
    if vertices.shape[1] != len(neutral.vertices):
        raise ValueError(f"{path} has {vertices.shape[1]} vertices, its neutral {neutral_file} {len(neutral.vertices)}: both need one topology")
    if "faces" in arrays and not np.array_equal(arrays["faces"], neutral.faces):
        raise ValueError(f"{path} has other faces than its neutral {neutral_file}: both need one topology, with vertices in one order")
    found, fps = arrays.get("found", np.ones(len(vertices), bool)), arrays.get("fps", np.float64(FPS))
    if found.shape != (len(vertices),) or found.dtype != bool:
        raise ValueError(f"{path}: found must be true or false for each of the {len(vertices)} frames, got {found.dtype} {found.shape}")
    if fps.shape != () or fps.dtype.kind not in "fiu" or not (np.isfinite(fps) and fps > 0):
        raise ValueError(f"{path}: fps must be one positive number, got {fps.dtype} {fps.tolist()}")
    if not found.any():
        raise ValueError(f"{path} has {'no frame with a face' if len(found) else 'no frames'}: there is nothing to carry over")
    kept = vertices[found]
    unsound = ~np.isfinite(kept).all(axis=(1, 2))
    if unsound.any():
        first = np.flatnonzero(found)[unsound.argmax()]
        raise ValueError(f"{path}: {unsound.sum()} of {len(kept)} frames have vertices that are not finite (first: frame {first}); mark them in 'found'")
    names = [f"frame_{frame:05d}" for frame in range(len(kept))]
    return Expressions(names, kept, fps=float(fps), files=(path,), dropped=int((~found).sum()))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz that a sequence may have; ValueError for what is none."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = archive.files
            arrays = {name: archive[name] for name in ("vertices", "faces", "found", "fps") if name in names}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, TypeError, AttributeError) as problem:
        reason = "it holds pickled objects, which are not read" if "pickle" in str(problem) else f"it is no .npz archive of numbers ({problem})"
        raise ValueError(f"{path} cannot be read as frames of vertices: {reason}; write it with numpy.savez(path, vertices=..., fps=...)") from None
    if "vertices" not in arrays:
        raise ValueError(f"{path} has no array 'vertices' (found: {', '.join(names) or 'nothing'})")
    return arrays


def _check_sizes(found: Expressions, neutral: Mesh, neutral_file: Path) -> None:
    size = np.linalg.norm(np.ptp(neutral.vertices, axis=0))
    for row, vertices in enumerate(found.vertices):
        share = float(np.linalg.norm(np.ptp(vertices, axis=0)) / size) if size else 1.0
        if not SAME_SIZE[0] <= share <= SAME_SIZE[1]:
            remedy = "an .npz must be in mm" if found.fps is not None else "give both in one unit"
            raise ValueError(f"{found.place(row)} is {share:.3g} times as large as its neutral {neutral_file}: {remedy}")


def output_kind(out: Path, count: int) -> str:
    """"mesh", "npz", "glb" or "folder", by the name to write `count` expressions to; ValueError where that name cannot be used."""
    suffix, remedy = out.suffix.lower(), f"give a folder, or a name that ends in {', '.join(FILE_SUFFIXES[:-1])} or {FILE_SUFFIXES[-1]}"
    inside = next((parent for parent in out.parents if parent.exists() and not parent.is_dir()), None)
    if inside is not None:
        raise ValueError(f"--out {out} lies inside {inside}, which is a file: {remedy}")
    if suffix in FILE_SUFFIXES:
        if out.is_dir():
            raise ValueError(f"--out {out} is a folder with a file's name: {remedy}")
        if suffix in MESH_SUFFIXES and count != 1:
            raise ValueError(f"--out {out} is one mesh, but there are {count} expressions: give a folder, an .npz or a .glb")
        return "mesh" if suffix in MESH_SUFFIXES else suffix[1:]
    if out.is_file():
        raise ValueError(f"--out {out} is a file: {remedy}")
    if suffix and not out.is_dir():
        raise ValueError(f"--out {out}: {suffix} files are not written; {remedy}")
    return "folder"


def output_files(out: Path, names: Sequence[str], *, kind: str) -> list[Path]:
    """The meshes or the one file that `write_retargeted` makes."""
    return [out / f"{name}.obj" for name in names] if kind == "folder" else [out]


def write_retargeted(
    out: Path, names: Sequence[str], rig: Rig, codes: Float[np.ndarray, "B Z"], *, kind: str, fps: float | None, colours: Float[np.ndarray, "V 3"]
) -> None:
    """Writes the posed rig: a folder of .obj by name, one .obj or .ply, an .npz with all arrays, or an animated .glb in `colours` (linear RGB)."""
    if kind == "glb":
        with torch.no_grad():
            weights = rig.coefficients(torch.from_numpy(codes.astype(np.float32))).cpu().numpy()
        basis, weights = even_reach(rig.basis, weights)
        modes = [f"mode_{mode:03d}" for mode in range(len(basis))]
        rate = POSES_PER_SECOND if fps is None else fps
        write_glb(out, rig.neutral, morph_targets=basis, names=modes, weights=weights, fps=rate, colours=colours)
    elif kind == "npz":
        arrays = {"vertices": rig.pose(codes), "faces": rig.neutral.faces, "codes": codes, "names": np.array(list(names))}
        write_file(out, npz_bytes(arrays | ({} if fps is None else {"fps": np.float64(fps)})))
    else:
        for file, vertices in zip(output_files(out, names, kind=kind), rig.pose(codes), strict=True):
            write_mesh(file, rig.neutral.with_vertices(vertices))
