"""Random light and cameras, within ranges that the caller gives. Everything is drawn from the `rng` handed in, so a seed is a scene."""
from __future__ import annotations

import numpy as np
from jaxtyping import Float

from serep.faces.topology import FaceTopology
from serep.geometry.camera import Camera
from serep.render.ranges import SceneRanges
from serep.render.scene import Light

HEAD_CENTRE = 75.0
"""mm from the landmarks' mean back to the axis about which a head turns."""
HEAD_SIZE = 260.0
"""mm that fill the field of view; with it the field of view sets the distance, hence the strength of perspective."""
EYE_SINK, MOUTH_SINK = 0.8, 8.0
"""mm by which `sink_inner_parts` moves."""
SH_CONSTANT, SH_LINEAR, SH_QUADRATIC = 0.282095, 0.488603, 1.092548
"""Normalisation of the real spherical harmonics of order 0, 1 and (about) 2."""


def sample_light(ranges: SceneRanges, *, rng: np.random.Generator) -> Light:
    """Surroundings that are mostly brighter above, and a lamp mostly in front; each with its own warmth."""
    level = rng.uniform(ranges.surroundings_min, ranges.surroundings_max)
    bright_side = rng.normal([0.0, 0.8, 0.3], 1)
    bright_side *= ranges.surroundings_contrast * rng.uniform(0.1, 1) / np.linalg.norm(bright_side)
    sh = np.zeros((9, 3))
    sh[0] = 1 / SH_CONSTANT
    # The colour of the bright side differs a little from that of the rest.
    sh[1:4] = bright_side[[1, 2, 0], None] * np.exp(rng.normal(0, ranges.tint / 2, 3)) / SH_LINEAR
    sh[4:] = rng.normal(0, 0.12 * ranges.surroundings_contrast, (5, 1)) / SH_QUADRATIC
    azimuth = np.radians(rng.uniform(-1, 1) * ranges.lamp_azimuth_max_deg)
    elevation = np.radians(rng.uniform(ranges.lamp_elevation_min_deg, ranges.lamp_elevation_max_deg))
    direction = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
    return Light(sh * level * _tint(ranges.tint, rng=rng), direction, rng.uniform(ranges.lamp_min, ranges.lamp_max) * _tint(ranges.tint, rng=rng))


def _tint(spread: float, *, rng: np.random.Generator) -> Float[np.ndarray, " 3"]:
    """Gains of red, green and blue: warm or cold, and a little green or magenta; their mean is 1."""
    gains = np.exp(rng.normal(0, spread) * np.array([1.0, 0.0, -1.0]) + rng.normal(0, spread / 5) * np.array([-0.5, 1.0, -0.5]))
    return gains / gains.mean()


def sample_camera(ranges: SceneRanges, landmarks: Float[np.ndarray, "L 3"], *, size_px: int, rng: np.random.Generator) -> Camera:
    """A camera anywhere around the head's centre whose picture is the (jittered) square around the projected landmarks, times a margin."""
    yaw, pitch, roll = (np.radians(_peaked(limit, rng=rng)) for limit in (ranges.yaw_max_deg, ranges.pitch_max_deg, ranges.roll_max_deg))
    view = np.radians(rng.uniform(ranges.view_min_deg, ranges.view_max_deg))
    margin = rng.uniform(ranges.margin_min, ranges.margin_max)
    shift = rng.uniform(-ranges.shift_max, ranges.shift_max, 2)
    rotation = np.diag([1.0, -1.0, -1.0]) @ turn(roll, 2) @ turn(pitch, 0) @ turn(yaw, 1)
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3] = rotation
    centre = landmarks.mean(axis=0) - [0.0, 0.0, HEAD_CENTRE]
    world_to_camera[:3, 3] = [0, 0, HEAD_SIZE / 2 / np.tan(view / 2)] - rotation @ centre
    unit = landmarks @ rotation.T + world_to_camera[:3, 3]
    unit = unit[:, :2] / unit[:, 2:]
    low, high = unit.min(axis=0), unit.max(axis=0)
    side = (high - low).max() * margin
    focal = size_px / side
    corner = (low + high) / 2 + shift * side - side / 2
    intrinsics = np.array([[focal, 0, -corner[0] * focal], [0, focal, -corner[1] * focal], [0, 0, 1]])
    return Camera(intrinsics, world_to_camera, size_px, size_px)


def _peaked(limit: float, *, rng: np.random.Generator) -> float:
    return float(rng.triangular(-limit, 0, limit)) if limit > 0 else 0.0


def turn(angle: float, axis: int) -> Float[np.ndarray, "3 3"]:
    """Rotation about x, y or z (0, 1, 2)."""
    rotation, one, two = np.eye(3), (axis + 1) % 3, (axis + 2) % 3
    rotation[one, one] = rotation[two, two] = np.cos(angle)
    rotation[two, one], rotation[one, two] = np.sin(angle), -np.sin(angle)
    return rotation


def sample_gaze(ranges: SceneRanges, *, rng: np.random.Generator) -> Float[np.ndarray, " 2"]:
    """Turn of both eyes in radians: to the subject's left, and down."""
    return np.radians([_peaked(ranges.gaze_max_deg, rng=rng), _peaked(ranges.gaze_max_deg, rng=rng) * 0.6])


def sink_inner_parts(vertices: Float[np.ndarray, "V 3"], topology: FaceTopology, camera: Camera) -> Float[np.ndarray, "V 3"]:
    """The same head with eyes, teeth and mouth moved away from the camera along its rays.

    They are drawn at the same pixels, but never through shut lids or pressed lips.
    """
    lips = topology.landmarks(vertices)[topology.landmark_rows((13, 14)), 2].mean()
    depth = np.zeros(len(vertices))
    for part, name in enumerate(topology.part_names):
        if name != "skin":
            rows = topology.parts == part
            depth[rows] = EYE_SINK if name.startswith("eye") else mouth_depths(vertices[rows], lips)
    return sunk(vertices, depth, camera)


def mouth_depths(vertices: Float[np.ndarray, "V 3"], lips: float) -> Float[np.ndarray, " V"]:
    """How far (mm) to sink each vertex of teeth, tongue and mouth; `lips` is the lips' z.

    Behind the lips everything moves alike, so that teeth stay before the tongue; what leaves the mouth (the tongue) moves less and less.
    """
    return MOUTH_SINK * np.clip((lips + 4.0 - vertices[:, 2]) / 8.0, 0, 1)


def sunk(vertices: Float[np.ndarray, "V 3"], depth: Float[np.ndarray, " V"], camera: Camera) -> Float[np.ndarray, "V 3"]:
    """Vertices moved away from the camera along its rays."""
    rays = vertices - camera.centre
    return vertices + rays * (depth / np.linalg.norm(rays, axis=1))[:, None]


def occlusion_floor(topology: FaceTopology) -> Float[np.ndarray, " V"]:
    """Least ambient light per vertex for `ambient_occlusion`: eyes and teeth are baked behind shut lips; the mouth darkens towards the throat."""
    floor = np.full(len(topology.template), 0.15)
    for part, (name, least) in enumerate(zip(topology.part_names, (0.15, 0.55, 0.55, 0.0, 0.55), strict=True)):
        floor[topology.parts == part] = least
        if name == "mouth_inside" and (topology.parts == part).any():
            depth = topology.template[topology.parts == part, 2]
            floor[topology.parts == part] = 0.05 + 0.36 * np.clip(1 - (depth.max() - depth) / 45.0, 0, 1)
    return floor
