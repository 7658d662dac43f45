"""Pictures from files: every format and colour mode in, (H, W, 3) uint8 RGB out."""
from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
SIXTEEN_BIT_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow reads 16-bit grey PNG and TIFF as one of these
TRANSPARENT_MODES = ("RGBA", "LA", "PA", "RGBa", "La")


def read_image(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """The picture as people see it: EXIF orientation applied, 16 bits reduced to 8, transparent areas on white."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no picture at {path}")
    try:
        with Image.open(path) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} is not a picture that can be read; give one of {', '.join(IMAGE_SUFFIXES)}") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path} is too large ({error}); reduce it first") from error
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's ways to say that the data end early or make no sense
        raise ValueError(f"{path} is damaged ({error}); export or copy it again") from error
    return np.array(_to_rgb(upright, path))


def image_paths(folder: Path) -> list[Path]:
    """Pictures below `folder`, by suffix, in sorted order; maybe none. FileNotFoundError when there is no such folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and not path.name.startswith("."))


def _to_rgb(image: Image.Image, path: Path) -> Image.Image:
    if image.mode in SIXTEEN_BIT_MODES:
        values = np.asarray(image, dtype=np.int64)
        if values.max(initial=0) > 65_535 or values.min(initial=0) < 0:
            raise ValueError(f"{path} holds {values.min()} to {values.max()}, which is neither 8 nor 16 bits; convert it first")
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError(f"{path} holds floating-point numbers of unknown range; convert it to 8 or 16 bits first")
    if image.mode in TRANSPARENT_MODES or "transparency" in image.info:
        opaque = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", opaque.size, (255, 255, 255, 255)), opaque).convert("RGB")
    return image.convert("RGB")
