"""A small MultiREX of our own making in the official file layout: egg-shaped heads in both topologies, and one motion known exactly on both."""
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse
from scipy.spatial import ConvexHull

from serep.geometry.mesh import Mesh
from serep.geometry.mesh_io import write_mesh
from serep.geometry.surface_map import map_to_surface

MULTIFACE, FLAME = 7306, 5023
RADII = np.array([80.0, 115.0, 95.0])
PEOPLE = {
    "1111": ("m--20200101--0000--1111--GHS#images#EXP_ROM07_Facial_Expressions", ("#400030", "#400017", "#400018")),
    "002222": ("m--20200102--0000--002222--GHS#images#EXP_free_face", ("#400291", "#400347", "#400485")),
    "33": ("m--20200103--0000--33--GHS#images#EXP_free_face", ("#400291", "#400275")),
}
CENTRES = {"mouth": (0, -55, 85), "nose": (0, 0, 95), "cheek": (45, -35, 70), "eyes_forehead": (0, 50, 85)}


def egg(count: int, turn: float = 0.0) -> Mesh:
    """A closed head of evenly spread vertices, mm."""
    k = np.arange(count) + 0.5
    polar, around = np.arccos(1 - 2 * k / count), np.pi * (1 + 5**0.5) * k + turn
    unit = np.stack([np.cos(around) * np.sin(polar), np.sin(around) * np.sin(polar), np.cos(polar)], axis=1)
    faces = ConvexHull(unit).simplices
    normals = np.cross(unit[faces[:, 1]] - unit[faces[:, 0]], unit[faces[:, 2]] - unit[faces[:, 0]])
    inwards = (normals * unit[faces[:, 0]]).sum(axis=1) < 0
    faces[inwards] = faces[inwards][:, ::-1]
    return Mesh(unit * RADII, faces)


def motion(points: np.ndarray, frames: int, *, size: float = 8.0, late: int = 0) -> np.ndarray:
    """(T, V, 3) mm: the mouth opens and closes, the brows rise, out of step."""
    time = np.maximum(np.arange(frames) - late, 0)[:, None] / frames
    mouth = np.exp(-((points - CENTRES["mouth"]) ** 2).sum(axis=1) / 2 / 25**2)
    brows = np.exp(-((points - CENTRES["eyes_forehead"]) ** 2).sum(axis=1) / 2 / 25**2)
    down, up = np.array([0.0, -1.0, 0.2]), np.array([0.0, 1.0, 0.0])
    opening, rising = np.sin(4 * np.pi * time) ** 2, 0.3 * np.sin(6 * np.pi * time + 1) ** 2
    return size * ((opening * mouth)[..., None] * down + (rising * brows)[..., None] * up)


@dataclass(frozen=True)
class World:
    assets: Path
    truth: Path
    predictions: Path
    frames: int


def person_scale(identity: str) -> float:
    return 1.0 + 0.03 * list(PEOPLE).index(identity)


def flame_neutral(identity: str) -> np.ndarray:
    """mm"""
    return egg(FLAME, turn=0.3).vertices * person_scale(identity)


def write_world(folder: Path, *, frames: int = 12) -> World:
    """Assets, truth, and predictions that are exact but for the conversion (the same motion, on the FLAME neutral, metres)."""
    assets, truth, predictions = folder / "assets", folder / "multiface_gt", folder / "decoded_flame_meshes"
    for name in ("regions", "conversion_matrices", "Neutrals_FLAME", "Neutrals_Multiface"):
        (assets / name).mkdir(parents=True)
    truth.mkdir()
    predictions.mkdir()
    target, source = egg(MULTIFACE), egg(FLAME, turn=0.3)
    near = {name: np.flatnonzero(np.linalg.norm(target.vertices - centre, axis=1) < 28).astype(np.int32) for name, centre in CENTRES.items()}
    for name, ids in (near | {"mouth_cheek": np.union1d(near["mouth"], near["cheek"]).astype(np.int32)}).items():
        np.save(assets / "regions" / f"{name}_region.npy", ids)
    matrix = scipy.sparse.csr_matrix(map_to_surface(target.vertices, None, source).matrix)
    metadata, boxes = {}, {}
    for identity, (sequence, cameras) in PEOPLE.items():
        name, scale = f"{identity}_000001", person_scale(identity)
        write_mesh(assets / "Neutrals_FLAME" / f"{name}.obj", source.with_vertices(source.vertices * scale / 1000))
        write_mesh(assets / "Neutrals_Multiface" / f"{name}.obj", target.with_vertices(target.vertices * scale))
        scipy.sparse.save_npz(assets / "conversion_matrices" / f"{name}_FLAME_to_multiface_weights_sparse_v1.npz", matrix)
        metadata[identity] = {"id_frame": name, "gt_sequence_name": f"{sequence}.npy", "cameras": list(cameras)}
        own = target.vertices * scale
        np.save(truth / f"{sequence}.npy", (own + motion(own, frames)).astype(np.float32))
        for camera in cameras:
            boxes[f"{sequence}{camera}.mp4"] = np.zeros((frames, 4), np.int32)
            neutral = flame_neutral(identity)
            np.save(predictions / f"{sequence}{camera}.npy", ((neutral + motion(neutral, frames)) / 1000).astype(np.float32))
    (assets / "id_mesh_weights_metadata_flame.pickle").write_bytes(pickle.dumps(metadata))
    (assets / "video_bbox_mapping.pickle").write_bytes(pickle.dumps(boxes))
    return World(assets, truth, predictions, frames)
