"""Random light and cameras, within ranges that the caller gives. Everything is drawn from the `rng` handed in, so a seed is a scene."""
from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float

from serep.faces.regions import ball_centre
from serep.faces.topology import FaceTopology
from serep.geometry.camera import Camera, project
from serep.render.appearance import sample_appearance
from serep.render.scene import Light

__all__ = ["SceneRanges", "occlusion_floor", "sample_appearance", "sample_camera", "sample_gaze", "sample_light", "sink_inner_parts", "turn_eyes"]
HEAD_CENTRE = 75.0
"""mm from the landmarks' mean back to the axis about which a head turns."""
HEAD_SIZE = 260.0
"""mm that fill the field of view; with it the field of view sets the distance, hence the strength of perspective."""
EYE_SINK, MOUTH_SINK = 0.8, 8.0
"""mm by which `sink_inner_parts` moves."""
SH_CONSTANT, SH_LINEAR, SH_QUADRATIC = 0.282095, 0.488603, 1.092548
"""Normalisation of the real spherical harmonics of order 0, 1 and (about) 2."""


@dataclass(frozen=True)
class SceneRanges:
    """Bounds of what is drawn at random; the values are the project's parameters. Angles in degrees, light in units of `Light`."""

    yaw_max_deg: float
    """Largest turn to either side; triangular distribution with its peak at 0, as are pitch and roll."""
    pitch_max_deg: float
    roll_max_deg: float
    view_min_deg: float
    """Field of view that a whole head fills: small is a telephoto from afar, large a selfie."""
    view_max_deg: float
    margin_min: float
    """Picture side over the side of the square around the projected landmarks."""
    margin_max: float
    shift_max: float
    """Largest shift of that square, as a share of the picture's side."""
    gaze_max_deg: float
    surroundings_min: float
    """Mean light from all around."""
    surroundings_max: float
    surroundings_contrast: float
    """Largest difference between the bright and the dark side of the surroundings, 0..1."""
    lamp_min: float
    lamp_max: float
    lamp_azimuth_max_deg: float
    """Largest angle of the lamp from the front, to the sides."""
    lamp_elevation_min_deg: float
    lamp_elevation_max_deg: float
    tint: float
    """Standard deviation of the light's warmth (log ratio of red to blue, halved)."""

    def __post_init__(self) -> None:
        for low, high in (("view_min_deg", "view_max_deg"), ("margin_min", "margin_max"), ("surroundings_min", "surroundings_max"),
                          ("lamp_min", "lamp_max"), ("lamp_elevation_min_deg", "lamp_elevation_max_deg")):  # fmt: skip
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} = {getattr(self, low)} exceeds {high} = {getattr(self, high)}; swap them")
        for field in fields(self):
            if field.name != "lamp_elevation_min_deg" and getattr(self, field.name) < 0:
                raise ValueError(f"{field.name} must not be negative, got {getattr(self, field.name)}")
        if self.view_min_deg <= 0 or self.view_max_deg >= 120 or self.margin_min <= 0:
            raise ValueError(
                f"fields of view must lie within 0 and 120 degrees, margins over 0; got {self.view_min_deg} to {self.view_max_deg}, {self.margin_min}"
            )


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
    unit = project(landmarks, Camera(np.eye(3), world_to_camera, size_px, size_px))
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


def turn_eyes(vertices: Float[np.ndarray, "V 3"], topology: FaceTopology, gaze: Float[np.ndarray, " 2"]) -> Float[np.ndarray, "V 3"]:
    """The same head with each eyeball turned about its own centre; topologies without eyes come back as they are."""
    rotation, turned = turn(gaze[0], 1) @ turn(gaze[1], 0), vertices.copy()
    for part, name in enumerate(topology.part_names):
        ball = topology.parts == part
        if name in ("eye_left", "eye_right") and ball.any():
            centre = ball_centre(vertices[ball])
            turned[ball] = (vertices[ball] - centre) @ rotation.T + centre
    return turned


def sink_inner_parts(vertices: Float[np.ndarray, "V 3"], topology: FaceTopology, camera: Camera) -> Float[np.ndarray, "V 3"]:
    """The same head with eyes, teeth and mouth moved away from the camera along its rays.

    They are drawn at the same pixels, but never through shut lids or pressed lips. Behind the lips everything moves alike, so that teeth stay
    before the tongue; what leaves the mouth (the tongue) moves less and less.
    """
    lips = topology.landmarks(vertices)[topology.landmark_rows((13, 14)), 2].mean()
    behind = np.clip((lips + 4.0 - vertices[:, 2]) / 8.0, 0, 1)
    depth = np.zeros(len(vertices))
    for part, name in enumerate(topology.part_names):
        if name != "skin":
            depth += (topology.parts == part) * (EYE_SINK if name.startswith("eye") else MOUTH_SINK * behind)
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
