"""What the capture saw: each frame with its landmarks, beside the posed target in the same pose of the head."""
from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from serep.faces.topology import FaceTopology
from serep.geometry.mesh import Mesh
from serep.render.ambient_occlusion import ambient_occlusion
from serep.render.clay import draw_shapes, portrait_camera
from serep.render.numba_backend import NumbaRenderer
from serep.render.scene import Appearance, Light, Scene
from serep.render.sheets import SHEET_BACKGROUND

SKIN = (0.50, 0.43, 0.39)
LIPS, BROWS = (0.44, 0.22, 0.20), (0.10, 0.08, 0.07)
EYES, IRIS, PUPIL = (0.72, 0.70, 0.68), (0.10, 0.09, 0.08), (0.01, 0.01, 0.01)
TEETH, MOUTH = (0.65, 0.61, 0.55), (0.25, 0.08, 0.07)
BACKGROUND = SHEET_BACKGROUND
LANDMARK, SHADOW, BOX = (90, 255, 140), (0, 0, 0), (255, 200, 60)
LAMP = np.array([-0.45, 0.55, 0.7]) / np.linalg.norm([-0.45, 0.55, 0.7])
VIEW_DEG = 22.0  # of the head's picture: a portrait lens
MARGIN = 1.25  # picture over the head's largest extent
PANEL_MAX_PX, FRAME_MAX_PX = 512, 1080
OCCLUSION_RAYS, OCCLUSION_FLOOR = 64, 0.35


def clay_colours(topology: FaceTopology) -> Float[np.ndarray, "V 3"]:
    """A plain, light head with darker lips and brows and readable eyes: linear RGB in 0..1."""
    colours = np.tile(SKIN, (len(topology.template), 1))

    def paint(colour: tuple[float, float, float], weight: np.ndarray) -> None:
        nonlocal colours
        weight = np.clip(weight, 0.0, 1.0)[:, None]
        colours = colours * (1 - weight) + np.array(colour) * weight

    def region(name: str) -> np.ndarray:
        return topology.regions.get(name, np.zeros(len(colours), np.float32))

    def part(*names: str) -> np.ndarray:
        return np.isin(topology.parts, [topology.part_names.index(name) for name in names if name in topology.part_names])

    paint(LIPS, 0.8 * region("lips"))
    paint(BROWS, 0.8 * np.maximum(region("brow_left"), region("brow_right")))
    eyes = part("eye_left", "eye_right")
    paint(EYES, eyes)
    paint(IRIS, eyes * region("iris"))
    paint(PUPIL, eyes * region("pupil"))
    paint(TEETH, part("teeth"))
    paint(MOUTH, part("mouth_inside"))
    return colours


class HeadView:
    """Draws one target, turned as the camera sees the head, in the middle of a square picture."""

    def __init__(
        self,
        neutral: Mesh,
        colours: Float[np.ndarray, "V 3"],
        *,
        size_px: int,
        centre: Float[np.ndarray, " 3"] | None = None,
        extent: float | None = None,
    ) -> None:
        """`extent` mm around `centre` fill the picture; by default the whole mesh with a margin. `colours` are linear RGB in 0..1."""
        self._faces, self._size_px = neutral.faces, size_px
        self._renderer = NumbaRenderer(size_px)
        self._occlusion = ambient_occlusion(neutral, rays=OCCLUSION_RAYS, floor=OCCLUSION_FLOOR)
        count = len(neutral.vertices)
        self._appearance = Appearance(colours, np.full(count, 0.04), np.full(count, 20.0))
        self._centre = (neutral.vertices.min(axis=0) + neutral.vertices.max(axis=0)) / 2 if centre is None else centre
        extent = MARGIN * float(np.ptp(neutral.vertices, axis=0).max()) if extent is None else extent
        self._camera = portrait_camera(extent, size_px=size_px, field_of_view_deg=VIEW_DEG)
        sh = np.zeros((9, 3))
        sh[0], sh[1] = 1.6, 0.35  # an even sky, brighter above
        self._light = Light(sh, LAMP, np.full(3, 0.55))

    def paint(self, vertices: Float[np.ndarray, "V 3"], colours: Float[np.ndarray, "V 3"]) -> UInt8[np.ndarray, "S S 3"]:
        """The upright head in colours that stand for numbers."""
        return draw_shapes((vertices - self._centre)[None], self._faces, cameras=[self._camera], colours=colours[None])[0]

    def draw(self, vertices: Float[np.ndarray, "V 3"] | None, head_pose: Float[np.ndarray, "4 4"] | None) -> UInt8[np.ndarray, "S S 3"]:
        """The target's vertices in the pose face → camera; upright where the pose is None, and an empty picture for no vertices."""
        picture = np.full((self._size_px, self._size_px, 3), BACKGROUND, np.uint8)
        if vertices is None:
            return picture
        turned = (vertices - self._centre).astype(np.float64)
        if head_pose is not None:
            turned = turned @ (np.diag([1.0, -1.0, -1.0]) @ head_pose[:3, :3]).T
        layers = self._renderer.render(Scene(turned, self._faces, self._appearance, self._occlusion, self._light, self._camera))
        mask = layers.mask > 0
        picture[mask] = layers.rgb[mask]
        return picture


def panel_px(frame_height: int) -> int:
    """Side of the head's picture beside a frame of this height."""
    return max(64, min(PANEL_MAX_PX, frame_height))


def draw_landmarks(
    image: UInt8[np.ndarray, "H W 3"], landmarks: Float[np.ndarray, "L 2"] | None, box: Float[np.ndarray, " 4"] | None
) -> UInt8[np.ndarray, "H W 3"]:
    """A copy of the frame with dots and the box that the face was found in (x0 y0 x1 y1 px); for None the words "no face"."""
    drawn = np.ascontiguousarray(image).copy()
    height, width = drawn.shape[:2]
    unit = max(height, width) / 720  # line widths of a full picture
    if landmarks is None:
        place, scale = (round(12 * unit), round(28 * unit)), 0.8 * unit
        cv2.putText(drawn, "no face", place, cv2.FONT_HERSHEY_SIMPLEX, scale, SHADOW, max(1, round(4 * unit)), cv2.LINE_AA)
        cv2.putText(drawn, "no face", place, cv2.FONT_HERSHEY_SIMPLEX, scale, BOX, max(1, round(1.5 * unit)), cv2.LINE_AA)
        return drawn
    if box is not None and np.isfinite(box).all():
        corners = [(int(box[0]), int(box[1])), (int(box[2]), int(box[3]))]
        cv2.rectangle(drawn, *corners, BOX, max(1, round(1.2 * unit)), cv2.LINE_AA)
    finite = landmarks[np.isfinite(landmarks).all(axis=1)]
    near = finite[(np.abs(finite) < 4 * max(height, width)).all(axis=1)]
    extent = float(np.ptp(near, axis=0).max()) if len(near) else 0.0
    radius = float(np.clip(extent / 120, 0.7, 4.0))
    shift = 3  # OpenCV draws at eighths of a pixel and counts pixel centres from 0, ours lie at +0.5
    places = np.round((near - 0.5) * 2**shift).astype(int)
    for size, colour in ((1.5 * radius, SHADOW), (radius, LANDMARK)):
        for x, y in places.tolist():
            cv2.circle(drawn, (x, y), round(size * 2**shift), colour, -1, cv2.LINE_AA, shift)
    return drawn


def side_by_side(frame: UInt8[np.ndarray, "H W 3"], head: UInt8[np.ndarray, "S S 3"]) -> UInt8[np.ndarray, "H2 W2 3"]:
    """The frame (reduced to at most 1080 rows, enlarged to the head's height where it is less) with the head at its right, centred."""
    height = int(np.clip(frame.shape[0], head.shape[0], FRAME_MAX_PX))
    if height != frame.shape[0]:
        width = max(1, round(frame.shape[1] * height / frame.shape[0]))
        frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if height < frame.shape[0] else cv2.INTER_LINEAR)
    picture = np.full((height, frame.shape[1] + head.shape[1], 3), BACKGROUND, np.uint8)
    picture[:, : frame.shape[1]] = frame
    top = (height - head.shape[0]) // 2
    picture[top : top + head.shape[0], frame.shape[1] :] = head
    return picture
