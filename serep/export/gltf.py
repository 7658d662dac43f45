"""Animated faces as GLB (glTF 2.0 binary): a mesh with named morph targets, their weights over time, and the motion of the head.

glTF has metres, y up and z towards the viewer: our axes, so meshes are only scaled. Head poses come in the camera's frame (y down, z
forward) and are turned over. Specification: Khronos, "glTF 2.0", 2021.
"""
from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from serep.files import write_file
from serep.geometry.mesh import Mesh, vertex_normals

MM_TO_M = 1e-3
CAMERA_TO_VIEWER = np.diag([1.0, -1.0, -1.0])  # OpenCV's camera frame to glTF's
FLOAT, UNSIGNED_INT = 5126, 5125
VERTEX_DATA, INDEX_DATA = 34962, 34963
JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942
NORMAL_STEP = 0.1  # mm that the most moved vertex of a target moves in the finite difference of the normals
TARGET_REACH = 10.0  # mm that the most moved vertex moves at the weight 1


def write_glb(
    path: str | Path,
    neutral: Mesh,
    *,
    morph_targets: Float[np.ndarray, "K V 3"],
    names: Sequence[str],
    weights: Float[np.ndarray, "T K"],
    fps: float,
    head_pose: Float[np.ndarray, "T 4 4"] | None = None,
    colours: Float[np.ndarray, "V 3"] | None = None,
) -> None:
    """Writes `neutral + weights · morph_targets` (mm), frame t at t / fps seconds, linear in between.

    `head_pose` is face → camera in mm: the node turns as the camera sees the head and moves relative to the first pose, so the head begins
    at the origin. Rows of weights and poses that hold NaN are frames without a face: they get no key, so viewers go straight from the one
    before to the one after. `colours` are linear RGB in 0..1 per vertex. The file appears when it is complete. ValueError for arrays that
    do not fit together, or that are not finite where they must be.
    """
    _check(neutral, morph_targets, names, weights, fps=fps, head_pose=head_pose, colours=colours)
    file = _Glb()

    def per_vertex(values: np.ndarray) -> int:
        return file.accessor(values, "VEC3", VERTEX_DATA)

    attributes = {"POSITION": per_vertex(MM_TO_M * neutral.vertices), "NORMAL": per_vertex(_normals(neutral.vertices, neutral))}
    if colours is not None:
        attributes["COLOR_0"] = per_vertex(colours)
    targets = [{"POSITION": per_vertex(MM_TO_M * target), "NORMAL": per_vertex(_normal_slope(neutral, target))} for target in morph_targets]
    primitive = {"attributes": attributes, "indices": file.accessor(neutral.faces, "SCALAR", INDEX_DATA), "material": 0}
    mesh: dict = {"name": "face", "primitives": [primitive]}
    channels, samplers = [], []

    def animate(frames: np.ndarray, **outputs: tuple[np.ndarray, str]) -> None:
        times = file.accessor(frames / fps, "SCALAR")
        for property_name, (values, kind) in outputs.items():
            channels.append({"sampler": len(samplers), "target": {"node": 0, "path": property_name}})
            samplers.append({"input": times, "output": file.accessor(values, kind), "interpolation": "LINEAR"})

    if targets:
        frames, rows = _keys(np.isfinite(weights).all(axis=1))
        primitive["targets"] = targets
        mesh |= {"weights": weights[rows[0]].astype(float).tolist(), "extras": {"targetNames": list(names)}}
        animate(frames, weights=(weights[rows], "SCALAR"))
    found = np.zeros(0, bool) if head_pose is None else np.isfinite(head_pose).all(axis=(1, 2))
    if head_pose is not None and found.any():
        frames, rows = _keys(found)
        translations, quaternions = viewer_motion(head_pose[rows])
        animate(frames, translation=(MM_TO_M * translations, "VEC3"), rotation=(quaternions, "VEC4"))
    base_colour = [0.75, 0.62, 0.54, 1.0] if colours is None else [1.0, 1.0, 1.0, 1.0]
    pbr = {"baseColorFactor": base_colour, "metallicFactor": 0.0, "roughnessFactor": 0.6}
    document = {
        "asset": {"version": "2.0", "generator": "serep"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "head", "mesh": 0}],
        "meshes": [mesh],
        "materials": [{"name": "face", "pbrMetallicRoughness": pbr, "doubleSided": True}],
    }
    if channels:
        document["animations"] = [{"name": "performance", "channels": channels, "samplers": samplers}]
    write_file(path, file.content(document))


def even_reach(
    basis: Float[np.ndarray, "K V 3"], weights: Float[np.ndarray, "T K"]
) -> tuple[Float[np.ndarray, "K V 3"], Float[np.ndarray, "T K"]]:
    """The same motion with every target scaled so that the weight 1 moves its most moved vertex by 10 mm: sliders from -1 to 1 make sense."""
    reach = np.linalg.norm(basis, axis=-1).max(axis=-1, initial=0) / TARGET_REACH
    scale = np.where(reach > 0, reach, 1).astype(np.float32)
    return (basis / scale[:, None, None]).astype(np.float32), (weights * scale).astype(np.float32)


def viewer_motion(head_pose: Float[np.ndarray, "T 4 4"]) -> tuple[Float[np.ndarray, "T 3"], Float[np.ndarray, "T 4"]]:
    """Translations in mm from the first pose, and quaternions (x, y, z, w) without jumps of sign, in the viewer's frame."""
    poses = head_pose.astype(np.float64)
    translations = (poses[:, :3, 3] - poses[0, :3, 3]) @ CAMERA_TO_VIEWER.T
    quaternions = np.array([_quaternion(rotation) for rotation in CAMERA_TO_VIEWER @ poses[:, :3, :3]])
    for row in range(1, len(quaternions)):
        quaternions[row] *= 1 if quaternions[row] @ quaternions[row - 1] >= 0 else -1
    return translations, quaternions


def _keys(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(frames that get a key, rows whose values they take): found frames, and the clip's two ends with the nearest found frame's."""
    rows = np.flatnonzero(found)
    frames = np.union1d(rows, [0, len(found) - 1])
    return frames, np.clip(frames, rows[0], rows[-1])


def _quaternion(rotation: np.ndarray) -> np.ndarray:
    """The eigenvector of the largest eigenvalue of Bar-Itzhack's symmetric matrix (2000): exact for rotations, nearest for others."""
    r = rotation
    symmetric = np.array([
        [r[0, 0] - r[1, 1] - r[2, 2], r[1, 0] + r[0, 1], r[2, 0] + r[0, 2], r[2, 1] - r[1, 2]],
        [r[1, 0] + r[0, 1], r[1, 1] - r[0, 0] - r[2, 2], r[2, 1] + r[1, 2], r[0, 2] - r[2, 0]],
        [r[2, 0] + r[0, 2], r[2, 1] + r[1, 2], r[2, 2] - r[0, 0] - r[1, 1], r[1, 0] - r[0, 1]],
        [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], r[0, 0] + r[1, 1] + r[2, 2]],
    ])  # fmt: skip
    quaternion = np.linalg.eigh(symmetric)[1][:, -1]
    return quaternion if quaternion[3] >= 0 else -quaternion


def _normals(vertices: np.ndarray, mesh: Mesh) -> np.ndarray:
    normals = vertex_normals(vertices, mesh.faces)
    normals[~normals.any(axis=1)] = [0, 0, 1]  # glTF wants unit normals at vertices without a face too
    return normals


def _normal_slope(neutral: Mesh, target: np.ndarray) -> np.ndarray:
    """Change of the normals per unit of weight: viewers add it as they add positions, so that moved skin is lit as it lies."""
    reach = np.linalg.norm(target, axis=1).max(initial=0)
    if reach == 0:
        return np.zeros_like(neutral.vertices)
    step = NORMAL_STEP / reach
    return (_normals(neutral.vertices + step * target, neutral) - _normals(neutral.vertices - step * target, neutral)) / (2 * step)


def _check(neutral, morph_targets, names, weights, *, fps, head_pose, colours) -> None:
    count, vertices = len(morph_targets), len(neutral.vertices)
    if morph_targets.shape[1:] != (vertices, 3):
        raise ValueError(f"morph targets must have the neutral's {vertices} vertices, got an array of the shape {morph_targets.shape}")
    if len(names) != count or len(set(names)) != count:
        raise ValueError(f"{count} morph targets need as many different names, got {len(names)} names, {len(set(names))} of them different")
    if weights.ndim != 2 or weights.shape[1] != count or not len(weights):
        raise ValueError(f"weights must have the shape (T, {count}) with at least one frame, got {weights.shape}")
    if not (np.isfinite(fps) and fps > 0):
        raise ValueError(f"fps must be positive, got {fps}")
    if head_pose is not None and head_pose.shape != (len(weights), 4, 4):
        raise ValueError(f"head_pose must have the shape ({len(weights)}, 4, 4), one pose for each frame of weights, got {head_pose.shape}")
    if colours is not None and not (colours.shape == (vertices, 3) and (colours >= 0).all() and (colours <= 1).all()):
        raise ValueError(f"colours must be in 0..1 and of the shape ({vertices}, 3), got the shape {colours.shape}")
    for what, values in (("vertices", neutral.vertices), ("morph targets", morph_targets)):
        if not np.isfinite(values).all():
            raise ValueError(f"{what} must be finite, got NaN or infinity: check where they come from")
    if not np.isfinite(weights).all(axis=1).any():
        raise ValueError("no frame has finite weights: there is nothing to play")


class _Glb:
    """Collects arrays into the binary chunk and describes them."""

    def __init__(self) -> None:
        self._accessors: list[dict] = []
        self._views: list[dict] = []
        self._chunks: list[bytes] = []
        self._length = 0

    def accessor(self, values: np.ndarray, kind: str, target: int | None = None) -> int:
        """Index of a new accessor over a view of its own; every view starts at a multiple of four bytes."""
        component = UNSIGNED_INT if target == INDEX_DATA else FLOAT
        array = np.ascontiguousarray(values, "<u4" if component == UNSIGNED_INT else "<f4")
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[kind]
        rows = array.reshape(-1, width)
        view = {"buffer": 0, "byteOffset": self._length, "byteLength": array.nbytes}
        self._views.append(view if target is None else view | {"target": target})
        self._accessors.append({
            "bufferView": len(self._views) - 1, "componentType": component, "count": len(rows), "type": kind,
            "min": rows.min(axis=0).tolist(), "max": rows.max(axis=0).tolist(),
        })  # fmt: skip
        self._chunks.append(array.tobytes())  # items of four bytes: the next view is aligned too
        self._length += array.nbytes
        return len(self._accessors) - 1

    def content(self, document: dict) -> bytes:
        document = document | {"buffers": [{"byteLength": self._length}], "bufferViews": self._views, "accessors": self._accessors}
        text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        header = struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + self._length)
        return b"".join([header, struct.pack("<II", len(text), JSON_CHUNK), text, struct.pack("<II", self._length, BINARY_CHUNK), *self._chunks])
