"""Expressive meshes in, the same expressions on another neutral out."""
from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from serep.export.gltf import even_reach, write_glb
from serep.export.overlay import clay_colours
from serep.faces.topology import FaceTopology
from serep.geometry.mesh import Mesh
from serep.geometry.mesh_io import read_mesh, write_mesh
from serep.models.rig import Rig

MESH_SUFFIXES = (".obj", ".ply")
POSES_PER_SECOND = 2.0  # of separate expressions played one after another; frames that come with a rate keep it


def read_expressions(
    source: Path, neutral: Mesh, *, leave_out: Sequence[Path] = (), unit: str = "mm", up: str = "y", front: str = "z"
) -> tuple[list[str], Float[np.ndarray, "B V 3"], float | None]:
    """(names, vertices in mm, frames per second) of one mesh, of a folder's meshes in sorted order, or of an .npz with vertices (T, V, 3).

    `leave_out` are files of the folder that are no expressions (its neutral). The rate is None for separate meshes. Arrays of an .npz are
    in mm and in our axes already. ValueError names the file whose vertices or faces are not the neutral's.
    """
    if source.suffix.lower() == ".npz" and source.is_file():
        vertices, fps = _read_frames(source)
        if vertices.shape[1:] != neutral.vertices.shape:
            raise ValueError(f"{source} has {vertices.shape[1]} vertices, the source's neutral {len(neutral.vertices)}: both need one topology")
        return [f"frame_{frame:05d}" for frame in range(len(vertices))], vertices, fps
    paths = [source]
    if source.is_dir():
        excluded = {path.resolve() for path in leave_out}
        paths = sorted(path for path in source.iterdir() if path.suffix.lower() in MESH_SUFFIXES and path.resolve() not in excluded)
        if not paths:
            raise FileNotFoundError(f"the folder {source} holds no expressive mesh ({', '.join(MESH_SUFFIXES)})")
    meshes = []
    for path in paths:
        mesh = read_mesh(path, unit=unit, up=up, front=front)
        if not np.array_equal(mesh.faces, neutral.faces) or len(mesh.vertices) != len(neutral.vertices):
            counts = f"{len(mesh.vertices)} vertices and {len(mesh.faces)} faces against {len(neutral.vertices)} and {len(neutral.faces)}"
            raise ValueError(f"{path} has other faces than the source's neutral ({counts}): both need one topology, with vertices in one order")
        meshes.append(mesh.vertices)
    return [path.stem for path in paths], np.stack(meshes), None


def _read_frames(path: Path) -> tuple[np.ndarray, float]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if "vertices" not in arrays.files:
                raise ValueError(f"it has no array 'vertices' (found: {', '.join(arrays.files)})")
            vertices = arrays["vertices"]
            found = arrays["found"] if "found" in arrays.files else np.ones(len(vertices), bool)
            fps = float(arrays["fps"]) if "fps" in arrays.files else 25.0
    except (ValueError, zipfile.BadZipFile, EOFError) as problem:
        raise ValueError(f"{path} cannot be read as frames of vertices: {problem}") from None
    if vertices.ndim != 3 or vertices.shape[2] != 3 or found.shape != (len(vertices),) or not found.any():
        raise ValueError(f"{path}: vertices must have the shape (T, V, 3) and at least one frame with a face, got {vertices.shape}")
    return vertices[found].astype(np.float64), fps


def write_retargeted(
    out: Path, names: Sequence[str], rig: Rig, codes: Float[np.ndarray, "B Z"], *, fps: float | None, topology: FaceTopology
) -> Path:
    """Writes the posed rig and returns `out`: a folder of .obj by name, one .obj or .ply, an .npz with all arrays, or an animated .glb."""
    suffix = out.suffix.lower()
    if suffix in MESH_SUFFIXES:
        if len(names) != 1:
            raise ValueError(f"--out {out} is one mesh, but there are {len(names)} expressions: give a folder, an .npz or a .glb")
        write_mesh(out, rig.neutral.with_vertices(rig.pose(codes)[0]))
    elif suffix == ".npz":
        arrays = {"vertices": rig.pose(codes), "faces": rig.neutral.faces, "codes": codes, "names": np.array(list(names))}
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_name(out.name + ".partial")
        with partial.open("wb") as file:
            np.savez_compressed(file, **arrays, **({} if fps is None else {"fps": np.float64(fps)}))
        os.replace(partial, out)
    elif suffix == ".glb":
        with torch.no_grad():
            weights = rig.coefficients(torch.from_numpy(codes.astype(np.float32))).cpu().numpy()
        basis, weights = even_reach(rig.basis, weights)
        modes = [f"mode_{mode:03d}" for mode in range(len(basis))]
        rate = POSES_PER_SECOND if fps is None else fps
        write_glb(out, rig.neutral, morph_targets=basis, names=modes, weights=weights, fps=rate, colours=clay_colours(topology))
    elif out.is_file():
        raise ValueError(f"--out {out} is a file: give a folder, or a name that ends in .obj, .ply, .npz or .glb")
    elif suffix and not out.is_dir():
        raise ValueError(f"--out {out}: {suffix} files are not written; give a folder, or a name that ends in .obj, .ply, .npz or .glb")
    else:
        for name, vertices in zip(names, rig.pose(codes), strict=True):
            write_mesh(out / f"{name}.obj", rig.neutral.with_vertices(vertices))
    return out
