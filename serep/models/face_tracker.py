"""Follows one face through a video with the capture network: crops, looks, and searches again when the face is lost."""
from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from serep.models.engine import Engine
from serep.models.face_boxes import FaceSquare, crop_transform, distinct_squares, find_faces, find_faces_of_side, from_crop, landmark_square, sample_square

logger = logging.getLogger(__name__)

RECENTRINGS = 2  # how often a frame is looked at again in its own crop
CANDIDATES = 3  # faces found by the cascades that the network is asked about, the largest first
VERIFY_EVERY, VERIFY_REACH = 25, 3.0  # frames between looks of the cascades around a followed face, and how far they look, in its squares
DOUBTFUL = 0.95  # probability of a face below which they look at once
DISAGREEMENT = 0.25  # of the square's side: cascades that place the face further off have seen another place
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
    """What the network saw in one frame. Landmarks in px of the frame; `square` is the one whose crop was looked at."""

    code: Float[np.ndarray, " Z"]
    landmarks: Float[np.ndarray, "L 2"]
    square: FaceSquare
    presence: float

    def drift(self) -> float:
        return Sighting.distance(landmark_square(self.landmarks), self.square)

    @staticmethod
    def distance(seen: FaceSquare, square: FaceSquare) -> float:
        """Between two squares: of the centres as a share of the side, or the logarithm of the sizes, whichever is larger."""
        return max(float(np.abs(seen.centre - square.centre).max()) / square.side, abs(float(np.log(seen.side / square.side))))

    def is_face(self, threshold: float) -> bool:
        size = landmark_square(self.landmarks).side / self.square.side
        return self.presence >= threshold and PLAUSIBLE_SIDES[0] <= size <= PLAUSIBLE_SIDES[1]


class FaceTracker:
    """Give it frames in order; it remembers where the face was."""

    def __init__(self, engine: Engine, settings: TrackingSettings):
        self._engine, self._settings = engine, settings
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
        self._square, self._lost, self._presence = landmark_square(sighting.landmarks), 0, sighting.presence
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
        nearby = [FaceSquare(np.add(square.centre, (left, top)), square.side) for square in find_faces_of_side(region, self._square.side)[:1]]
        if nearby and Sighting.distance(nearby[0], self._square) > DISAGREEMENT:
            here, there = self._look_closely([frame, frame], [self._square, nearby[0]])
            if there.is_face(self._settings.presence_threshold) and there.presence > here.presence:
                self._square = landmark_square(there.landmarks)

    def _search(self, frame: UInt8[np.ndarray, "H W 3"], number: int) -> Sighting | None:
        """The largest of the faces that the cascades find and the network confirms."""
        squares = find_faces(frame, thorough=self._lost % self._settings.thorough_every == 0)[:CANDIDATES]
        if not squares:
            return None
        faces = [look for look in self._look_closely([frame] * len(squares), squares) if look.is_face(self._settings.presence_threshold)]
        if not faces:
            return None
        count = len(distinct_squares([landmark_square(face.landmarks) for face in faces]))
        if count > max(self.most_faces, 1):
            logger.warning("frame %d shows %d faces: the largest is captured. Cut the others off if it is not the one", number, count)
        self.most_faces = max(self.most_faces, count)
        return max(faces, key=lambda face: landmark_square(face.landmarks).side)

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
        transforms = [crop_transform(square.centre, square.side * self._settings.crop_scale, 0.0) for square in squares]
        seen = self._engine(np.stack([sample_square(frame, transform, size, border=cv2.BORDER_CONSTANT)
                                      for frame, transform in zip(frames, transforms, strict=True)]))
        places = seen.landmarks.astype(np.float64)
        return [Sighting(code, from_crop(points, transform), square, float(share))
                for code, points, transform, square, share in zip(seen.codes, places, transforms, squares, seen.presence, strict=True)]


def _moved_square(sighting: Sighting) -> FaceSquare:
    """The square around the landmarks; a step in size is bounded, so that one bad look cannot make a crop of nothing or of everything."""
    seen = landmark_square(sighting.landmarks)
    side = float(np.clip(seen.side, 0.6 * sighting.square.side, 1.6 * sighting.square.side))
    return FaceSquare(seen.centre, side)
