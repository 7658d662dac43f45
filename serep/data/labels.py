"""Landmarks and boxes that somebody put beside a picture or a video: read, checked, and brought to the project's landmarks."""
from __future__ import annotations

import csv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from serep.faces.landmark_ids import LANDMARK_IDS

LANDMARKS_SUFFIX, BOXES_SUFFIX = ".landmarks.npz", ".boxes.csv"
FACE_MESHES = (468, 478)  # points of MediaPipe's face mesh, without and with irises
LEAST_POINTS = 12  # of the project's landmarks that a face must have to be placed by them
BOX_OFFSET, BOX_SIDE = 0.12, 0.54  # the landmark square's centre below that of a face's box, and its side, as shares of the box's side


@dataclass(frozen=True, eq=False)
class Labels:
    """What is known of the faces of one frame, in px of the upright picture."""

    landmarks: Float[np.ndarray, "n L 2"]
    """In the order of LANDMARK_IDS, NaN for points that are not given."""
    squares: Float[np.ndarray, "m 3"]
    """x, y, side of the landmark squares of faces of which only boxes are known."""


def labels_beside(path: Path, count: int | None) -> dict[int, Labels]:
    """The labels of a picture's (`count` None) or a video's frames, by frame; empty where there are none. ValueError naming the file that is wrong.

    clip.landmarks.npz: `landmarks` (T, L, 2) px for the T frames of a video, (L, 2) or (faces, L, 2) for a picture, NaN where no face was seen; and `ids`
    (L,), MediaPipe face-mesh numbers, which may be left out for 468 or 478 points.
    clip.boxes.csv: columns x0, y0, x1, y1 (px, around the whole face from forehead to chin) and, for videos, frame (from 0).
    """
    landmarks = _landmarks(path.with_name(path.stem + LANDMARKS_SUFFIX), is_video=count is not None)
    squares = _box_squares(path.with_name(path.stem + BOXES_SUFFIX), is_video=count is not None)
    empty_points, empty_squares = np.zeros((0, len(LANDMARK_IDS), 2)), np.zeros((0, 3))
    return {frame: Labels(landmarks.get(frame, empty_points), squares.get(frame, empty_squares)) for frame in sorted({*landmarks, *squares})}


def _landmarks(file: Path, *, is_video: bool) -> dict[int, np.ndarray]:
    if not file.is_file():
        return {}
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file.name} cannot be read as .npz ({error})") from error
    points = arrays.get("landmarks")
    if points is None or points.ndim not in (2, 3) or points.shape[-1] != 2 or points.dtype.kind not in "fiu" or (is_video and points.ndim != 3):
        found = "absent" if points is None else f"{points.dtype} {points.shape}"
        raise ValueError(f"{file.name}: 'landmarks' must be numbers of shape {'(frames, points, 2)' if is_video else '(points, 2)'}, found: {found}")
    ids = arrays.get("ids", np.arange(points.shape[-2]) if points.shape[-2] in FACE_MESHES else None)
    if ids is None or ids.shape != (points.shape[-2],) or ids.dtype.kind not in "iu":
        raise ValueError(f"{file.name}: 'ids' must name the MediaPipe point of each of the {points.shape[-2]} landmarks")
    place = {int(one): row for row, one in enumerate(ids)}
    chosen = np.full((*points.shape[:-2], len(LANDMARK_IDS), 2), np.nan)
    for row, one in enumerate(LANDMARK_IDS):
        if one in place:
            chosen[..., row, :] = points[..., place[one], :]
    faces = chosen.reshape(-1, len(LANDMARK_IDS), 2)
    seen = np.isfinite(faces).all(axis=-1).sum(axis=-1) >= LEAST_POINTS
    if not seen.any():
        raise ValueError(f"{file.name} gives no face {LEAST_POINTS} of the points of eyes, nose and mouth")
    return {frame: faces[frame:frame + 1] for frame in np.flatnonzero(seen).tolist()} if is_video else {0: faces[seen]}


def _box_squares(file: Path, *, is_video: bool) -> dict[int, np.ndarray]:
    if not file.is_file():
        return {}
    columns = (["frame"] if is_video else []) + ["x0", "y0", "x1", "y1"]
    squares: dict[int, list] = {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            table = csv.DictReader(stream)
            if missing := [name for name in columns if name not in (table.fieldnames or ())]:
                raise ValueError(f"missing: {', '.join(missing)}")
            for row in table:
                frame, (x0, y0, x1, y1) = int(row["frame"]) if is_video else 0, (float(row[name]) for name in columns[-4:])
                side = 0.5 * (x1 - x0 + y1 - y0)
                if not (side > 0 and np.isfinite(side)) or frame < 0:
                    raise ValueError(f"a box from {x0}, {y0} to {x1}, {y1}")
                squares.setdefault(frame, []).append((0.5 * (x0 + x1), 0.5 * (y0 + y1) + BOX_OFFSET * side, BOX_SIDE * side))
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise ValueError(f"{file.name} must be a table with the columns {', '.join(columns)} ({error})") from error
    return {frame: np.array(boxes) for frame, boxes in squares.items()}
