"""What the capture network is trained on, in memory: labelled renders, how often each is drawn, and crops of unlabelled photographs."""
from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from serep.data.images import image_paths, read_image
from serep.data.render_dataset import RenderDataset
from serep.models.face_boxes import crop_transform, find_faces, sample_square

logger = logging.getLogger(__name__)

OPENING_BINS, RAREST = 10, 4.0  # bins of an opening's range; a render is drawn at most this many times as often as the mean


@dataclass(frozen=True, eq=False)
class LabelledRenders:
    """Renders in memory. `layers` are RGB and mask; landmarks in px, in the order of the topology's landmark_ids."""

    layers: UInt8[np.ndarray, "N H W 4"]
    landmarks: Float[np.ndarray, "N L 2"]
    codes: Float[np.ndarray, "N Z"]

    @staticmethod
    def read(folders: Sequence[Path]) -> LabelledRenders:
        """Parts of the render store, 4 bytes for each pixel of each image."""
        arrays = RenderDataset(folders).load_all()
        layers = np.concatenate([arrays.pop("rgb"), arrays.pop("mask")[..., None]], axis=-1)
        return LabelledRenders(layers, arrays["landmarks"], arrays["codes"])


def sampling_shares(openings: Float[np.ndarray, "N D"], balance: float) -> Float[np.ndarray, " N"]:
    """How often each render is drawn, 1 on average: (1 / how common its openings are) ** balance.

    Random expressions rarely shut the eyes, real people do all the time; balance 0 leaves the renders as they are, 1 makes all openings equally common.
    """
    shares = np.ones(len(openings))
    for column in openings.T:
        low, high = np.percentile(column, [1, 99])
        bins = np.clip(((column - low) / max(high - low, 1e-9) * OPENING_BINS).astype(int), 0, OPENING_BINS - 1)
        shares *= np.bincount(bins, minlength=OPENING_BINS)[bins] ** -balance
    for _ in range(20):  # limiting some shares raises the others
        shares = np.minimum(shares / shares.mean(), RAREST)
    return shares / shares.mean()


def real_crops(folder: Path, *, image_size: int, crop_scale: float) -> tuple[UInt8[np.ndarray, "N S S 3"], list[tuple[str, str]]]:
    """Crops of the faces in all pictures below `folder`, and the files set aside, each with the reason. No labels are needed or read.

    A folder without pictures gives no crops; FileNotFoundError where there is no folder.
    """
    crops, set_aside = [], []
    for path in _pictures(folder):
        try:
            picture = read_image(path)
        except ValueError as error:
            set_aside.append((path.relative_to(folder).as_posix(), str(error)))
            continue
        squares = find_faces(picture, thorough=True)
        if not squares:
            set_aside.append((path.relative_to(folder).as_posix(), "no face found"))
        for square in squares:
            transform = crop_transform(square.centre, square.side * crop_scale, 0.0)
            crops.append(sample_square(picture, transform, image_size, border=cv2.BORDER_REPLICATE))
    logger.info("%s: %d faces for the domain classifier, %d files set aside", folder, len(crops), len(set_aside))
    return (np.stack(crops) if crops else np.zeros((0, image_size, image_size, 3), np.uint8)), set_aside


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder} for real pictures. Make it; it may stay empty (params: paths.real_images)")
    try:
        return image_paths(folder)
    except FileNotFoundError:  # its way to say that the folder holds no picture
        return []
