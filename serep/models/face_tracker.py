"""Follows one face through a video with the capture network: crops, looks, and searches again when the face is lost."""
from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from serep.models.engine import Engine
from serep.models.face_boxes import (
    FaceSquare,
    crop_transform,
    distinct_squares,
    find_faces,
    find_faces_of_side,
    from_crop,
    landmark_square,
    sample_square,
    upright_angle,
)

logger = logging.getLogger(__name__)

RECENTRINGS = 2  # how often a frame is looked at again in its own crop
CANDIDATES = 3  # faces found by the cascades that the network is asked about, the largest first
VERIFY_EVERY, VERIFY_REACH = 25, 3.0  # frames between looks of the cascades around a followed face, and how far they look, in its squares
DOUBTFUL = 0.95  # probability of a face below which they look at once
DISAGREEMENT = 0.25  # of the square's side: cascades that place the face further off have seen another place
SWEEP_SIDES, SWEEP_STEP, SWEEP_BATCH = (0.42, 0.28), 0.6, 32  # landmark squares over the picture's shorter side; between them, in squares; looked at together
PLAUSIBLE_SIDES = (0.4, 1.8)  # landmark square as the network sees it, over the one that the crop was made for


@dataclass(frozen=True)
class TrackingSettings:
    """How faces are followed.

    crop_scale          side of the crop over the side of the landmark square, as in training
    batch_frames        frames that are looked at together; all start from the square of the frame before them
    recentre_beyond     drift of the face within its crop, as a share of the landmark square's side, beyond which the frame is cropped anew
    presence_threshold  least probability of a whole face
    patience_frames     frames for which a lost face is expected where it was last seen
    thorough_every      of the frames without a face, every so many are searched for profiles and small faces too
    """

    crop_scale: float
    batch_frames: int
    recentre_beyond: float
    presence_threshold: float
    patience_frames: int
    thorough_every: int


@dataclass(frozen=True, eq=False)
class Sighting:
    """What the network saw in one frame. Landmarks in px of the frame; `square` is the one whose crop was looked at, `angle` the face's own."""

    code: Float[np.ndarray, " Z"]
    landmarks: Float[np.ndarray, "L 2"]
    square: FaceSquare
    presence: float
    angle: float = 0.0

    @property
    def face(self) -> FaceSquare:
        """Where the face is."""
        return landmark_square(self.landmarks, self.angle)

    def drift(self) -> float:
        return Sighting.distance(self.face, self.square)

    @staticmethod
    def distance(seen: FaceSquare, square: FaceSquare) -> float:
        """Between two squares: of the centres as a share of the side, the logarithm of the sizes, or half the angle between them, whichever is largest."""
        turned = abs(float(np.remainder(seen.angle - square.angle + np.pi, 2 * np.pi) - np.pi))
        return max(float(np.abs(seen.centre - square.centre).max()) / square.side, abs(float(np.log(seen.side / square.side))), 0.5 * turned)

    def is_face(self, threshold: float) -> bool:
        size = self.face.side / self.square.side
        return self.presence >= threshold and PLAUSIBLE_SIDES[0] <= size <= PLAUSIBLE_SIDES[1]


class FaceTracker:
    """Give it frames in order; it remembers where the face was."""

    def __init__(self, engine: Engine, settings: TrackingSettings, landmark_ids: Int[np.ndarray, " L"]):
        self._engine, self._settings, self._landmark_ids = engine, settings, landmark_ids
        self._square: FaceSquare | None = None
        self._lost = 0  # frames since the face was last seen
        self._presence = 1.0  # of the last sighting
        self._unverified = 0  # frames since the cascades last looked
        self._frame = 0  # number of the next frame
        self.most_faces = 0  # that one frame was seen to show when it was searched

    def follow(self, frames: UInt8[np.ndarray, "T H W 3"] | Sequence[UInt8[np.ndarray, "H W 3"]]) -> list[Sighting | None]:
        """One sighting per frame; None where no face was found."""
        sightings: list[Sighting | None] = []
        while len(sightings) < len(frames):
            start = len(sightings)
            if self._square is not None:
                if not self._lost and (self._unverified >= VERIFY_EVERY or self._presence < DOUBTFUL):
                    self._verify(frames[start])
                chunk = frames[start:start + (1 if self._lost else self._settings.batch_frames)]
                for sighting in self._look_closely(chunk, [self._square] * len(chunk)):
                    if not sighting.is_face(self._settings.presence_threshold):
                        break
                    sightings.append(self._seen(sighting))
                if len(sightings) > start:
                    continue  # a frame that failed after others is looked at again, from the square of the frame just before it
            found = self._search(frames[start], self._frame + start)
            sightings.append(self._missed() if found is None else self._seen(found))
        self._frame += len(frames)
        return sightings

    def _seen(self, sighting: Sighting) -> Sighting:
        self._unverified = VERIFY_EVERY if self._lost else self._unverified + 1  # a face that comes back is checked at once
        self._square, self._lost, self._presence = sighting.face, 0, sighting.presence
        return sighting

    def _missed(self) -> None:
        self._lost += 1
        if self._lost > self._settings.patience_frames:
            self._square = None

    def _verify(self, frame: UInt8[np.ndarray, "H W 3"]) -> None:
        """Moves the square where the cascades see the face elsewhere and the network agrees: following alone can slide off, onto a forehead for instance."""
        self._unverified = 0
        left, top, right, bottom = self._square.box(VERIFY_REACH).round().astype(int)
        left, top = max(left, 0), max(top, 0)
        region = np.ascontiguousarray(frame[top:max(bottom, top + 1), left:max(right, left + 1)])
        if min(region.shape[:2]) < 2:
            return
        nearby = [FaceSquare(np.add(square.centre, (left, top)), square.side, self._square.angle) for square in find_faces_of_side(region, self._square.side)[:1]]
        if nearby and Sighting.distance(nearby[0], self._square) > DISAGREEMENT:
            here, there = self._look_closely([frame, frame], [self._square, nearby[0]])
            if there.is_face(self._settings.presence_threshold) and there.presence > here.presence:
                self._square = there.face

    def _search(self, frame: UInt8[np.ndarray, "H W 3"], number: int) -> Sighting | None:
        """The largest of the faces that the cascades find and the network confirms; where there are none, every so often the network searches by itself."""
        thorough = self._lost % self._settings.thorough_every == 0
        squares = find_faces(frame, thorough=thorough)[:CANDIDATES]
        faces = [look for look in self._look_closely([frame] * len(squares), squares) if look.is_face(self._settings.presence_threshold)] if squares else []
        if not faces and thorough:
            faces = self._sweep(frame)
        if not faces:
            return None
        count = len(distinct_squares([one.face for one in faces]))
        if count > max(self.most_faces, 1):
            logger.warning("frame %d shows %d faces: the largest is captured. Cut the others off if it is not the one", number, count)
        self.most_faces = max(self.most_faces, count)
        return max(faces, key=lambda one: one.face.side)

    def _sweep(self, frame: UInt8[np.ndarray, "H W 3"]) -> list[Sighting]:
        """Faces that fill a good part of the picture and that no cascade knows, as profiles: squares all over it are shown to the network.

        As with cascades, one square alone proves nothing: two looks from different places must end on the same face.
        """
        squares = sweep_squares(*frame.shape[:2])
        looks = [look for start in range(0, len(squares), SWEEP_BATCH)
                 for look in self._look([frame] * len(squares[start:start + SWEEP_BATCH]), squares[start:start + SWEEP_BATCH])]
        likely = sorted((look for look in looks if look.is_face(DOUBTFUL)), key=lambda one: -one.presence)[:2 * CANDIDATES]
        if not likely:
            return []
        closer = [look for look in self._look_closely([frame] * len(likely), [_moved_square(one) for one in likely]) if look.is_face(DOUBTFUL)]
        return [one for one in closer if sum(Sighting.distance(one.face, other.face) < DISAGREEMENT for other in closer) > 1]

    def _look_closely(self, frames: np.ndarray | Sequence[np.ndarray], squares: list[FaceSquare]) -> list[Sighting]:
        """Looks, and looks again where the face is not in the middle of its crop."""
        sightings = self._look(frames, squares)
        for _ in range(RECENTRINGS):
            again = [k for k, sighting in enumerate(sightings) if sighting.drift() > self._settings.recentre_beyond]
            if not again:
                break
            closer = self._look([frames[k] for k in again], [_moved_square(sightings[k]) for k in again])
            for k, sighting in zip(again, closer, strict=True):
                sightings[k] = sighting
        return sightings

    def _look(self, frames: np.ndarray | Sequence[np.ndarray], squares: list[FaceSquare]) -> list[Sighting]:
        size = self._engine.image_size
        transforms = [crop_transform(square.centre, square.side * self._settings.crop_scale, square.angle) for square in squares]
        seen = self._engine(np.stack([sample_square(frame, transform, size, border=cv2.BORDER_CONSTANT)
                                      for frame, transform in zip(frames, transforms, strict=True)]))
        landmarks = [from_crop(points, transform) for points, transform in zip(seen.landmarks.astype(np.float64), transforms, strict=True)]
        return [Sighting(code, points, square, float(share), upright_angle(points, self._landmark_ids))
                for code, points, square, share in zip(seen.codes, landmarks, squares, seen.presence, strict=True)]


def sweep_squares(height: int, width: int) -> list[FaceSquare]:
    """Squares of SWEEP_SIDES all over a picture, so near to one another that any face of about these sizes lies well within the crop of one."""
    squares = []
    for share in SWEEP_SIDES:
        side = share * min(height, width)
        rows, columns = (np.linspace(0.5 * side, extent - 0.5 * side, 1 + int(np.ceil((extent - side) / (SWEEP_STEP * side)))) for extent in (height, width))
        squares += [FaceSquare(np.array([x, y]), side) for y in rows for x in columns]
    return squares


def _moved_square(sighting: Sighting) -> FaceSquare:
    """The square around the landmarks; a step in size is bounded, so that one bad look cannot make a crop of nothing or of everything."""
    seen = sighting.face
    return FaceSquare(seen.centre, float(np.clip(seen.side, 0.6 * sighting.square.side, 1.6 * sighting.square.side)), seen.angle)
