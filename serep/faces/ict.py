"""ICT-FaceKit's heads (University of Southern California, MIT), read from a checkout or from one compact file; nothing of it is shipped.

The *face part* is read: the first 9,409 vertices of every published OBJ, with the inner lips, without eyes, mouth and neck.
"""
from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from serep.faces.mirror import mirror_map
from serep.faces.parametric import ParametricHeadModel, least_moving, motion_of
from serep.faces.regions import compute_regions
from serep.faces.topology import PARTS, FaceTopology
from serep.geometry.mesh_io import read_mesh, triangulate

FACE_VERTICES, FACE_TRIANGLES, IDENTITIES = 9409, 18460, 100
NEUTRAL = "generic_neutral_mesh"
EXPRESSION_LIST = "vertex_indices.json"
COMPACT = "ict_face.npz"
LANDMARKS = Path(__file__).parent / "assets" / "ict_landmarks.npz"
MM_PER_CM = 10.0


@dataclass(frozen=True, eq=False)
class ICTFace:
    """What the files hold, in mm."""

    template: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    modes: Float[np.ndarray, "K V 3"]
    units: Float[np.ndarray, "E V 3"]
    names: tuple[str, ...]
    provenance: str


class ICTHeads(ParametricHeadModel):
    """9,409 vertices, 100 identity modes, 53 ARKit units (all but tongueOut)."""

    name = "ict"
    licence = "MIT, Copyright (c) 2020 USC Institute for Creative Technologies"

    def __init__(self, path: Path, *, partial: bool = False, **choices: str) -> None:
        """See `read_face`; `choices` (whom to draw, how expressions are transferred) are ParametricHeadModel's."""
        face = read_face(path, partial=partial)
        marks, paint = packed_landmarks()
        parts = np.zeros(len(face.template), np.uint8)
        topology = FaceTopology(
            name="ict-face", faces=face.faces, template=face.template, landmark_ids=marks["ids"], landmark_triangles=marks["triangles"],
            landmark_barycentric=marks["barycentric"], regions=compute_regions(face.template, face.faces, parts, (marks, paint)), parts=parts,
            part_names=PARTS, mirror=mirror_map(face.template), fixed=least_moving(motion_of(face.units), parts == 0),
        )  # fmt: skip
        super().__init__(topology, face.modes, face.units, face.names, **choices)
        self.provenance = face.provenance


def packed_landmarks() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Embeddings (ids, triangles, barycentric) of LANDMARK_IDS and of PAINT_IDS on the ICT face."""
    with np.load(LANDMARKS, allow_pickle=False) as arrays:
        marks, paint = ({key: arrays[f"{kind}_{key}"] for key in ("ids", "triangles", "barycentric")} for kind in ("landmark", "paint"))
    return marks, paint


def faces_hash(faces: Int[np.ndarray, "F 3"]) -> str:
    """Tells whether a mesh has the ICT face's faces without the need to ship them."""
    return hashlib.sha256(np.ascontiguousarray(faces, "<i4").tobytes()).hexdigest()


def is_ict_face(vertex_count: int, faces: Int[np.ndarray, "F 3"]) -> bool:
    with np.load(LANDMARKS, allow_pickle=False) as arrays:
        return vertex_count == FACE_VERTICES and faces_hash(faces) == str(arrays["faces_sha256"])


def read_face(path: Path, *, partial: bool = False) -> ICTFace:
    """From a folder with FaceXModel/*.obj as published, a compact ict_face.npz, or a folder holding that file.

    Of a folder that has both, OBJs win when they are complete. `partial` reads whatever OBJs there are (for tests).
    FileNotFoundError when there is neither; ValueError naming the expressions or identities that an incomplete FaceXModel lacks.
    """
    folder = next((place for place in (path / "FaceXModel", path) if (place / f"{NEUTRAL}.obj").is_file()), None)
    compact = path if path.is_file() else path / COMPACT
    wanted = _published_names(folder) if folder else []
    lacks = [f"{name}.obj" for name in wanted if not (folder / f"{name}.obj").is_file()]
    if folder and (partial or not lacks):
        return _read_objs(folder, [name for name in wanted if f"{name}.obj" not in lacks])
    if compact.is_file():
        return _read_compact(compact)
    if folder:
        raise ValueError(f"{folder} is incomplete, it lacks {', '.join(lacks[:60])}{' …' if len(lacks) > 60 else ''}: fetch all of ICT-FaceKit")
    raise FileNotFoundError(f"no ICT heads at {path}: expected FaceXModel/{NEUTRAL}.obj or {COMPACT}. "
                            "Clone https://github.com/ICT-VGL/ICT-FaceKit and give its folder")


def _published_names(folder: Path) -> list[str]:
    """Names of the expressions, then of the identities, that a published FaceXModel has."""
    if not (folder / EXPRESSION_LIST).is_file():
        raise FileNotFoundError(f"{folder} has no {EXPRESSION_LIST}, which lists the expressions: fetch all of ICT-FaceKit")
    expressions = json.loads((folder / EXPRESSION_LIST).read_text(encoding="utf-8"))["expressions"]
    return [*expressions, *(f"identity{index:03d}" for index in range(IDENTITIES))]


def _read_objs(folder: Path, names: list[str]) -> ICTFace:
    mesh = read_mesh(folder / f"{NEUTRAL}.obj", unit="cm")
    if len(mesh.vertices) < FACE_VERTICES:
        raise ValueError(f"{folder / NEUTRAL}.obj has {len(mesh.vertices)} vertices, ICT-FaceKit's has more than {FACE_VERTICES}: fetch it again")
    template = mesh.vertices[:FACE_VERTICES]
    displacements = {name: (_face_vertices(folder / f"{name}.obj") - template).astype(np.float32) for name in names}
    modes = [displacement for name, displacement in displacements.items() if name.startswith("identity")]
    units = {name: displacement for name, displacement in displacements.items() if not name.startswith("identity")}
    faces = mesh.faces[:FACE_TRIANGLES]  # the material M_Face; a stray triangle of the back of the head has corners here, too
    provenance = f"ICT-FaceKit, FaceXModel with {len(modes)} identities and {len(units)} expressions"
    return ICTFace(template, faces, np.stack(modes), np.stack(list(units.values())), tuple(units), provenance)


def _face_vertices(path: Path) -> Float[np.ndarray, "V 3"]:
    """The face part of one OBJ in mm; reads no further than that."""
    with path.open("rb") as file:
        lines = list(islice((line for line in file if line.startswith(b"v ")), FACE_VERTICES))
    if len(lines) < FACE_VERTICES:
        raise ValueError(f"{path} has {len(lines)} vertices, expected at least {FACE_VERTICES}: fetch it again")
    return np.array([line.split()[1:4] for line in lines], dtype=np.float64) * MM_PER_CM


def _read_compact(path: Path) -> ICTFace:
    """From one file of displacements in integer steps."""
    with np.load(path, allow_pickle=False) as arrays:
        missing = sorted({"vertices", "quads", "identity_q", "expression_q", "step_cm", "expression_names", "n_arkit"} - set(arrays.files))
        if missing:
            raise ValueError(f"{path} is no compact ICT face: it lacks {', '.join(missing)} (found: {', '.join(arrays.files)})")
        if len(arrays["vertices"]) != FACE_VERTICES:
            raise ValueError(f"{path} has {len(arrays['vertices'])} vertices; only the face part with {FACE_VERTICES} is read")
        step, count = np.float32(arrays["step_cm"] * MM_PER_CM), int(arrays["n_arkit"])
        modes, units = (arrays[key].transpose(0, 2, 1) * step for key in ("identity_q", "expression_q"))
        return ICTFace(
            template=arrays["vertices"].astype(np.float64) * MM_PER_CM, faces=triangulate(arrays["quads"]), modes=modes, units=units[:count],
            names=tuple(str(name) for name in arrays["expression_names"][:count]),
            provenance=str(arrays["source"]) if "source" in arrays.files else "ICT-FaceKit, compact file",
        )  # fmt: skip
