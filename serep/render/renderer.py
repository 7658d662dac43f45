"""What every backend offers, and how to open one by name."""
from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8

from serep.geometry.camera import Camera
from serep.render.rasteriser import SUPERSAMPLING, average_down
from serep.render.scene import LABELS, Scene

logger = logging.getLogger(__name__)
BACKENDS = ("numba", "pyrender")


@dataclass(frozen=True, eq=False)
class Layers:
    """A drawn picture without background."""

    rgb: UInt8[np.ndarray, "H W 3"]
    """sRGB, not multiplied by the mask; 0 where empty."""
    mask: UInt8[np.ndarray, "H W"]
    """255 where at least half of the pixel is covered, else 0."""
    depth: Float[np.ndarray, "H W"]
    """mm along the camera's axis to the nearest sample (float32); 0 where empty."""
    labels: UInt8[np.ndarray, "H W"]
    """What the nearest sample belongs to, as an index of `scene.LABELS`; 0 where empty."""


@runtime_checkable
class Renderer(Protocol):
    """Draws scenes whose cameras all have one picture size. Keep one for the life of a process."""

    name: str
    size_px: int

    def render(self, scene: Scene) -> Layers: ...

    def describe(self) -> dict[str, str]:
        """Backend and versions, for the provenance of what it drew."""
        ...


def open_renderer(name: str, *, size_px: int, fallback: str | None) -> Renderer:
    """The backend `name` for pictures of size_px x size_px; `fallback` (if not None) is opened, with a warning, where it cannot be used.

    Raises ValueError for an unknown name, RuntimeError where the backend cannot be used here and there is no fallback.
    """
    for backend in (name, fallback):
        if backend is not None and backend not in BACKENDS:
            raise ValueError(f"unknown renderer {backend!r}; use one of {', '.join(BACKENDS)} (params: render.backend)")
    if size_px < 1:
        raise ValueError(f"size_px must be at least 1, got {size_px}")
    if name == "numba":
        from serep.render.numba_backend import NumbaRenderer

        return NumbaRenderer(size_px)
    from serep.render.pyrender_backend import PyrenderRenderer

    try:
        return PyrenderRenderer(size_px)
    except RuntimeError as error:
        if fallback is None or fallback == name:
            raise
        logger.warning("%s The pictures will be drawn by '%s' instead.", error, fallback)
        return open_renderer(fallback, size_px=size_px, fallback=None)


def check_scene(scene: Scene, size_px: int) -> None:
    """Refuses, with ValueError, what a renderer of size_px cannot draw; compiled code and GL would read beyond the arrays instead."""
    camera, look, count = scene.camera, scene.appearance, len(scene.vertices)
    if (camera.width, camera.height) != (size_px, size_px):
        raise ValueError(
            f"the camera's picture is {camera.width} x {camera.height} px, the renderer's {size_px} x {size_px}; open a renderer of the camera's size"
        )
    if camera.intrinsics[0, 1] != 0:
        raise ValueError(f"cameras with skew cannot be drawn, got intrinsics[0, 1] = {camera.intrinsics[0, 1]}; use a camera without skew")
    lengths = {len(look.albedo), len(look.specular), len(look.shininess), len(scene.ambient_occlusion)}
    lengths |= set() if scene.lamp_share is None else {len(scene.lamp_share)}
    if lengths != {count}:
        raise ValueError(f"appearance and ambient occlusion must have one row for each of the {count} vertices, got lengths {sorted(lengths)}")
    if len(scene.faces) and not 0 <= scene.faces.min() <= scene.faces.max() < count:
        raise ValueError(f"faces name the vertices {scene.faces.min()} to {scene.faces.max()}, but there are only 0 to {count - 1}")
    if scene.labels is not None and (len(scene.labels) != len(scene.faces) or (len(scene.labels) and scene.labels.max() >= len(LABELS))):
        raise ValueError(f"labels must be one of the numbers 0 to {len(LABELS) - 1} for each of the {len(scene.faces)} faces, "
                         f"got {len(scene.labels)} up to {scene.labels.max() if len(scene.labels) else 0}")
    if scene.closed is not None and len(scene.closed) != len(scene.faces):
        raise ValueError(f"closed must have one value for each of the {len(scene.faces)} faces, got {len(scene.closed)}")
    if not np.isfinite(scene.vertices).all():
        raise ValueError(f"{(~np.isfinite(scene.vertices).all(axis=1)).sum()} of {count} vertices are not finite; leave such a mesh out")


def sample_intrinsics(camera: Camera) -> tuple[float, float, float, float]:
    """fx, fy, cx, cy of the supersampled picture."""
    return tuple(SUPERSAMPLING * float(camera.intrinsics[row, column]) for row, column in ((0, 0), (1, 1), (0, 2), (1, 2)))


def resolve(samples: np.ndarray, buffer: np.ndarray, *, scale: float, shift: float, empty: float, size_px: int) -> Layers:
    """The picture from its samples, red, green, blue and label (see `average_down`); every backend ends with this."""
    rgb = np.zeros((size_px, size_px, 3), np.uint8)
    mask = np.zeros((size_px, size_px), np.uint8)
    depth = np.zeros((size_px, size_px), np.float32)
    labels = np.zeros((size_px, size_px), np.uint8)
    average_down(samples, buffer, scale, shift, empty, rgb, mask, depth, labels)
    return Layers(rgb, mask, depth, labels)


def closed_faces(scene: Scene) -> Bool[np.ndarray, " F"]:
    """The scene's closed triangles, or none."""
    return np.zeros(len(scene.faces), bool) if scene.closed is None else scene.closed


def face_labels(scene: Scene) -> UInt8[np.ndarray, " F"]:
    """The scene's labels, or skin everywhere."""
    return np.full(len(scene.faces), LABELS.index("skin"), np.uint8) if scene.labels is None else np.ascontiguousarray(scene.labels, np.uint8)
