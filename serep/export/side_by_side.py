"""A retargeting to look at: source and target beside each other, neutral and expressive, and how far every point of both moves."""
from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from serep.data.video import VideoWriter
from serep.export.overlay import HeadView
from serep.export.person import Person
from serep.files import write_file
from serep.render.sheets import GAP_PX, LINE_PX, error_colours, tile_sheet, with_colour_bar

SHOWN = 6
TILE_PX, FRAME_PX = 224, 480
MARGIN = 1.08  # picture over the longest side of the larger face, at its most open
LIMIT_STEPS = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)  # of the colour bar, times a power of ten
HEADINGS = ("source neutral", "source expressive", "target neutral", "target expressive", "source motion", "target motion")
LIMIT_SHARE = 99.0  # per cent of a face's vertices that move less than the colour bar's end


class Portrait:
    """One person, upright, seen from the front."""

    def __init__(self, person: Person, *, centre: Float[np.ndarray, " 3"], extent: float, size_px: int) -> None:
        self._person = person
        upright = person.neutral.with_vertices(person.upright(person.neutral.vertices))
        self._view = HeadView(upright, person.colours, size_px=size_px, centre=centre, extent=extent)

    def draw(self, vertices: Float[np.ndarray, "V 3"]) -> UInt8[np.ndarray, "S S 3"]:
        """As clay; vertices in the person's own frame."""
        return self._view.draw(self._person.upright(vertices), None)

    def paint_motion(self, vertices: Float[np.ndarray, "V 3"], limit: float) -> UInt8[np.ndarray, "S S 3"]:
        """Every vertex in the colour of its distance from the neutral."""
        return self._view.paint(self._person.upright(vertices), error_colours(self.motion(vertices)[None], limit)[0])

    def motion(self, vertices: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, " V"]:
        """mm from the neutral."""
        return np.linalg.norm(vertices - self._person.neutral.vertices, axis=-1)


def write_side_by_side(
    path: Path,
    source: Person,
    expressive: Float[np.ndarray, "B V 3"],
    target: Person,
    posed: Float[np.ndarray, "B W 3"],
    *,
    names: Sequence[str],
) -> None:
    """A PNG with a row for each expression, of many for six of them: both people neutral and expressive, at one scale, and their motion in colour."""
    rows = chosen_rows(expressive, source.neutral.vertices)
    left, right = portraits((source, expressive[rows]), (target, posed[rows]), size_px=TILE_PX)
    motions = [(left.motion(expressive[row]), right.motion(posed[row])) for row in rows]
    limit = round_limit(max(float(np.percentile(motion, LIMIT_SHARE)) for pair in motions for motion in pair))
    resting = left.draw(source.neutral.vertices), right.draw(target.neutral.vertices)
    tiles, labels = [], []
    for row, (of_source, of_target) in zip(rows, motions, strict=True):
        tiles += [resting[0], left.draw(expressive[row]), resting[1], right.draw(posed[row])]
        tiles += [left.paint_motion(expressive[row], limit), right.paint_motion(posed[row], limit)]
        labels.append(f"{names[row]}: moves by up to {of_source.max():.1f} mm on the source, {of_target.max():.1f} mm on the target")
    sheet = tile_sheet(tiles, len(HEADINGS), TILE_PX, (), headings=HEADINGS, row_labels=labels)
    buffer = io.BytesIO()
    Image.fromarray(with_colour_bar(sheet, limit, label="motion: distance from the neutral")).save(buffer, format="PNG", optimize=True)
    write_file(path, buffer.getvalue())


def write_side_by_side_video(
    path: Path,
    source: Person,
    expressive: Float[np.ndarray, "T V 3"],
    target: Person,
    posed: Float[np.ndarray, "T W 3"],
    *,
    fps: float,
    progress: Callable[[Iterable], Iterable] = iter,
) -> None:
    """A video of every frame: the source at the left, the target at the right, as clay at one scale. The frames pass through `progress`."""
    rows = chosen_rows(expressive, source.neutral.vertices)
    left, right = portraits((source, expressive[rows]), (target, posed[rows]), size_px=FRAME_PX)
    side = FRAME_PX + GAP_PX
    with VideoWriter(path, fps, (LINE_PX + side + GAP_PX, 2 * side + GAP_PX)) as writer:
        for one, other in progress(zip(expressive, posed, strict=True)):
            writer.write(tile_sheet([left.draw(one), right.draw(other)], 2, FRAME_PX, (), headings=("source", "target")))


def portraits(
    source: tuple[Person, Float[np.ndarray, "B V 3"]], target: tuple[Person, Float[np.ndarray, "B W 3"]], *, size_px: int
) -> tuple[Portrait, Portrait]:
    """Both framed on their faces in all of these meshes, at the scale that the larger one needs."""
    boxes = [_face_box(*source), _face_box(*target)]
    extent = MARGIN * max(float((high - low)[:2].max()) for low, high in boxes)
    left, right = (
        Portrait(person, centre=(low + high) / 2, extent=extent, size_px=size_px)
        for (person, _), (low, high) in zip((source, target), boxes, strict=True)
    )
    return left, right


def _face_box(person: Person, vertices: Float[np.ndarray, "B V 3"]) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
    """The corners of the box, in the model's frame, that the face never leaves."""
    face = person.face_points
    low, high = face.min(axis=0), face.max(axis=0)
    neutral = person.upright(person.neutral.vertices)
    own = ((neutral >= low) & (neutral <= high)).all(axis=1)
    for mesh in vertices[:, own]:
        upright = person.upright(mesh)
        low, high = np.minimum(low, upright.min(axis=0, initial=np.inf)), np.maximum(high, upright.max(axis=0, initial=-np.inf))
    return low, high


def chosen_rows(expressive: Float[np.ndarray, "B V 3"], neutral: Float[np.ndarray, "V 3"]) -> Int[np.ndarray, " R"]:
    """All rows when they are few; else the one with the most motion in each of SHOWN equal parts."""
    if len(expressive) <= SHOWN:
        return np.arange(len(expressive))
    motion = np.array([np.linalg.norm(mesh - neutral, axis=1).mean() for mesh in expressive])
    bounds = np.linspace(0, len(motion), SHOWN + 1).astype(int)
    return np.array([start + motion[start:end].argmax() for start, end in pairwise(bounds.tolist())])


def round_limit(largest: float) -> float:
    """The next of LIMIT_STEPS, at least 1 mm."""
    power = 10.0 ** np.floor(np.log10(max(largest, 1.0)))
    return float(next(step * power for step in LIMIT_STEPS if step * power >= largest))
