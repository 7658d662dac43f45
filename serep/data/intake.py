"""Real pictures and videos become crops of faces and an index of them; what is of no use is named and set aside.

What finds faces and what cuts them is given by the caller: a better detector is another function, or boxes in files beside the footage (see `labels`).
"""
from __future__ import annotations

import hashlib
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from serep.data.alike import Groups, Seen, edge_hash
from serep.data.images import IMAGE_SUFFIXES, read_image
from serep.data.labels import BOXES_SUFFIX, LANDMARKS_SUFFIX, Labels, labels_beside
from serep.data.real_faces import write_real_faces
from serep.data.video import VIDEO_SUFFIXES, VideoReader

logger = logging.getLogger(__name__)

LOOK_PX, LOOK_COVER = 64, 1.3  # of the crop whose likeness to others is judged: its side, and that over the landmark square's
SHARPNESS_PX = 64
SPOOL_FILE = "crops.raw"  # crops until their number is known

Squares = Float[np.ndarray, "n 3"]  # x, y, side in px of the squares around the landmarks of eyes, nose and mouth, the largest first
Finder = Callable[[np.ndarray], np.ndarray]  # picture (H, W, 3) to Squares
Cutter = Callable[[np.ndarray, np.ndarray, float, int], np.ndarray]  # picture, one row of Squares, times how large, side in px: the crop


@dataclass(frozen=True)
class IntakeSettings:
    """What is kept of footage.

    size_px            side of a stored crop
    cover              that side over the landmark square's; more than the network's crops, so that training can move and turn them
    least_face_px      side of the landmark square below which a face is too small
    least_sharpness    below which it is blurred: variance of the Laplacian over that of the brightness, at 64 px
    alike_share        of the bits of an edge hash in which two pictures may differ and still be the same
    seconds_between    frames of a video that are looked at
    frames_per_video   at most, spread over the whole video
    faces_per_picture  at most, the largest ones
    test_share         of the files, by a hash of their names: adding files moves none to the other side
    """

    size_px: int
    cover: float
    least_face_px: float
    least_sharpness: float
    alike_share: float
    seconds_between: float
    frames_per_video: int
    faces_per_picture: int
    test_share: float


def take_in(folder: Path, out: Path, *, find: Finder, cut: Cutter, settings: IntakeSettings) -> dict[str, int | dict[str, int]]:
    """Fills the new folder `out` from all pictures and videos below `folder`, and returns counts. No file at all gives an empty, valid output."""
    out.mkdir(parents=True)
    intake = _Intake(Path(folder), out, find, cut, settings)
    for path in _files(Path(folder)):
        intake.file(path)
    return intake.finish()


def _files(folder: Path) -> list[Path]:
    """All but hidden files and pages of explanation, in sorted order."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() != ".md"
                  and not any(part.startswith(".") for part in path.relative_to(folder).parts))


class _Intake:
    """One pass over a folder."""

    def __init__(self, folder: Path, out: Path, find: Finder, cut: Cutter, settings: IntakeSettings):
        self._folder, self._out, self._find, self._cut, self._settings = folder, out, find, cut, settings
        self._rows: list[dict] = []
        self._aside: Counter[tuple[str, str]] = Counter()  # faces by file and reason; 0 for whole files
        self._contents: dict[str, str] = {}  # sha256 to the file that had it first
        self._names: list[str] = []
        self._frames_seen, self._faces_seen, self._groups = Seen(), Seen(), Groups()
        self._spool = (out / SPOOL_FILE).open("wb")

    def file(self, path: Path) -> None:
        name, suffix = path.relative_to(self._folder).as_posix(), path.suffix.lower()
        if path.name.lower().endswith((LANDMARKS_SUFFIX, BOXES_SUFFIX)):
            if not any(path.with_name(path.name.rsplit(".", 2)[0] + other).is_file() for other in _spellings(IMAGE_SUFFIXES + VIDEO_SUFFIXES)):
                self._aside[name, "labels of a picture or video that is not there"] += 0
            return
        if suffix not in IMAGE_SUFFIXES + VIDEO_SUFFIXES:
            self._aside[name, "neither a picture nor a video, by its name"] += 0
            return
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        if content in self._contents:
            self._aside[name, f"the same file as {self._contents[content]}"] += 0
            return
        self._contents[content] = name
        try:
            self._picture(path, name) if suffix in IMAGE_SUFFIXES else self._video(path, name)
        except (ValueError, OSError) as error:
            self._aside[name, str(error).replace(f"{path}", path.name)] += 0

    def _picture(self, path: Path, name: str) -> None:
        labels, picture = labels_beside(path, None).get(0), read_image(path)
        look, number = edge_hash(picture), self._number(name)
        alike = self._frames_seen.owners_near(look, self._settings.alike_share)
        if alike:
            self._aside[name, f"looks like {self._names[alike[0]]}"] += 0
            return
        self._frames_seen.add(look, number)
        if not self._faces(picture, name, 0, labels):
            self._aside[name, "no face found"] += 0

    def _video(self, path: Path, name: str) -> None:
        settings, reader, number = self._settings, VideoReader(path), self._number(name)
        labels = labels_beside(path, reader.frame_count)
        step = max(1, math.ceil(settings.seconds_between * reader.fps), math.ceil(reader.frame_count / settings.frames_per_video))
        looked, found = 0, 0
        for frame, picture in _every(reader, step, settings.frames_per_video):
            look = edge_hash(picture)
            for other in {self._names[one] for one in self._frames_seen.owners_near(look, settings.alike_share)} - {name}:
                self._groups.join(name, other)
            self._frames_seen.add(look, number)
            looked, found = looked + 1, found + self._faces(picture, name, frame, labels.get(frame))
        if not found:
            self._aside[name, f"no face found in {looked} frames"] += 0

    def _number(self, name: str) -> int:
        self._names.append(name)
        return len(self._names) - 1

    def _faces(self, picture: np.ndarray, name: str, frame: int, labels: Labels | None) -> int:
        """Keeps what is of use, and returns how many faces there are."""
        settings, faces = self._settings, self._placed(picture, labels)
        for square, landmarks, placed_by in faces[:settings.faces_per_picture]:
            sharpness = _sharpness(self._cut(picture, square, 1.0, SHARPNESS_PX))
            if square[2] < settings.least_face_px:
                self._aside[name, f"smaller than {settings.least_face_px:g} px"] += 1
            elif not (0 <= square[0] < picture.shape[1] and 0 <= square[1] < picture.shape[0]):
                self._aside[name, "outside of the picture"] += 1
            elif sharpness < settings.least_sharpness:
                self._aside[name, f"blurred: sharpness below {settings.least_sharpness:g}"] += 1
            else:
                self._keep(picture, name, frame, square, landmarks, placed_by, sharpness)
        if len(faces) > settings.faces_per_picture:
            self._aside[name, f"more than {settings.faces_per_picture} faces"] += len(faces) - settings.faces_per_picture
        return len(faces)

    def _placed(self, picture: np.ndarray, labels: Labels | None) -> list[tuple[np.ndarray, np.ndarray | None, str]]:
        """(square, landmarks, what placed it) by size: those of labels where there are any, else what the finder finds."""
        if labels is None:
            return [(square, None, "found") for square in self._find(picture)]
        placed = []
        for points in labels.landmarks:
            low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
            placed.append((np.append(0.5 * (low + high), (high - low).max()), points, "landmarks"))
        inside = [np.abs(labels.squares[:, :2] - square[:2]).max(axis=1) < 0.5 * square[2] for square, _, _ in placed]
        free = ~np.any(inside, axis=0) if placed else np.ones(len(labels.squares), bool)
        placed += [(square, None, "box") for square in labels.squares[free]]
        return sorted(placed, key=lambda one: -one[0][2])

    def _keep(self, picture: np.ndarray, name: str, frame: int, square: np.ndarray, landmarks: np.ndarray | None, placed_by: str,
              sharpness: float) -> None:
        """A face that looks like another is not kept twice; where that one is of another file, both files stay on one side of the split."""
        look = edge_hash(self._cut(picture, square, LOOK_COVER, LOOK_PX))
        near = self._faces_seen.owners_near(look, self._settings.alike_share)
        if near:
            other = self._rows[near[0]]
            self._groups.join(name, other["file"])
            other["duplicates"] += 1
            self._aside[name, "looks like another frame" if other["file"] == name else f"looks like a face of {other['file']}"] += 1
            return
        settings, half = self._settings, 0.5 * self._settings.cover * square[2]
        corner = square[:2] - half
        in_crop = [] if landmarks is None else ((landmarks - corner) * settings.size_px / (2 * half)).astype(np.float32).reshape(-1).tolist()
        self._faces_seen.add(look, len(self._rows))
        self._rows.append({"crop": len(self._rows), "file": name, "frame": frame, "box": [*corner.tolist(), *(corner + 2 * half).tolist()],
                           "face_px": float(square[2]), "landmarks": in_crop, "placed_by": placed_by, "sharpness": sharpness, "duplicates": 0})
        self._spool.write(np.ascontiguousarray(self._cut(picture, square, settings.cover, settings.size_px)).tobytes())

    def finish(self) -> dict[str, int | dict[str, int]]:
        self._spool.close()
        settings, rows, out = self._settings, self._rows, self._out
        roots = {name: self._groups.find(name) for name in self._names}
        numbers = {root: number for number, root in enumerate(sorted(set(roots.values())))}
        for row in rows:
            root = roots[row["file"]]
            row |= {"split": "test" if _place(root) < settings.test_share else "train", "duplicate_group": numbers[root]}
        aside = [{"file": name, "faces": faces, "reason": reason} for (name, reason), faces in sorted(self._aside.items())]
        shape = (len(rows), settings.size_px, settings.size_px, 3)
        crops = np.memmap(out / SPOOL_FILE, np.uint8, "r", shape=shape) if rows else np.zeros(shape, np.uint8)
        write_real_faces(out, crops, rows, aside, settings=asdict(settings))
        del crops
        (out / SPOOL_FILE).unlink()
        files_aside = [row for row in aside if row["faces"] == 0]
        for row in files_aside:
            logger.warning("%s is set aside: %s", row["file"], row["reason"])
        return {"files": len({row["file"] for row in rows}), "faces": len(rows), "faces_with_landmarks": sum(bool(row["landmarks"]) for row in rows),
                "files_set_aside": len(files_aside), "faces_left_out": sum(row["faces"] for row in aside),
                "by_split": {split: sum(row["split"] == split for row in rows) for split in ("train", "test")}}


def _every(reader: VideoReader, step: int, most: int) -> Iterator[tuple[int, UInt8[np.ndarray, "H W 3"]]]:
    """Every so many frames, with their numbers."""
    given = 0
    for number, picture in enumerate(reader):
        if number % step == 0:
            yield number, picture
            given += 1
            if given == most:
                return


def _sharpness(crop: UInt8[np.ndarray, "S S 3"]) -> float:
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var() / max(float(grey.var()), 1.0))


def _place(name: str) -> float:
    """A number in 0..1 that depends on the name alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") / 2**48


def _spellings(suffixes: tuple[str, ...]) -> tuple[str, ...]:
    return suffixes + tuple(suffix.upper() for suffix in suffixes)
