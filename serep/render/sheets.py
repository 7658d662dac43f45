"""Sheets of pictures: tiles in a grid with their captions, legends and colour bars, on one dark background."""
from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

SHEET_WIDTH_PX = 1400
SHEET_LIMIT_BYTES = 900_000
MAX_TILES = 120
SHEET_BACKGROUND, SHEET_TEXT = (34, 38, 44), (228, 232, 237)
ERROR_COLOURS, ERROR_COLOURS_FROM = "viridis", 0.15  # its darkest end would sink into the background
FLAT_LIGHT = 0.74  # of coloured faces: below the renderer's roll-off of highlights, so colours come out in proportion
GAP_PX, LINE_PX = 4, 22  # between tiles, and a line of text


def error_colours(errors: Float[np.ndarray, "N V"], limit: float) -> Float[np.ndarray, "N V 3"]:
    """Colours (linear RGB) of a perceptually uniform map, from 0 to `limit` mm; what is above is shown as the limit."""
    if not limit > 0:
        raise ValueError(f"limit must be above 0 mm, got {limit}")
    share = ERROR_COLOURS_FROM + (1 - ERROR_COLOURS_FROM) * np.clip(errors / limit, 0, 1)
    encoded = matplotlib.colormaps[ERROR_COLOURS](share)[..., :3]  # sRGB
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def jpeg_bytes(image: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """The image as JPEG, as good and (if that is not enough) as large as fits into SHEET_LIMIT_BYTES."""
    picture = Image.fromarray(image)
    while True:
        for quality in (88, 75, 60):
            buffer = io.BytesIO()
            picture.save(buffer, format="JPEG", quality=quality, subsampling=0)
            if buffer.tell() <= SHEET_LIMIT_BYTES:
                return buffer.getvalue()
        picture = picture.reduce(2)


def tile_size_px(columns: int) -> int:
    """Side of a square tile: all columns fit into SHEET_WIDTH_PX, and no tile is larger than it helps."""
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    return min(320, SHEET_WIDTH_PX // columns - GAP_PX)


def resized(image: UInt8[np.ndarray, "H W 3"], size_px: int) -> UInt8[np.ndarray, "h w 3"]:
    """The longer side becomes `size_px`."""
    scale = size_px / max(image.shape[:2])
    width, height = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def _font(size_px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size_px)


def tile_sheet(
    tiles: Sequence[UInt8[np.ndarray, "h w 3"]],
    columns: int,
    tile_px: int,
    captions: Sequence[str],
    *,
    headings: Sequence[str] = (),
    row_labels: Sequence[str] = (),
) -> UInt8[np.ndarray, "H W 3"]:
    """Tiles in a grid; a caption under each, headings above the columns, or a label above each row."""
    if not 0 < len(tiles) <= MAX_TILES:
        raise ValueError(f"a sheet holds 1 to {MAX_TILES} pictures, got {len(tiles)}: choose some of them")
    rows = -(-len(tiles) // columns)
    columns = min(columns, len(tiles))
    above, below = LINE_PX * bool(row_labels), LINE_PX * bool(captions)
    tallest = max(tile.shape[0] for tile in tiles)
    pitch_y, pitch_x, top = above + tallest + below + GAP_PX, tile_px + GAP_PX, GAP_PX + LINE_PX * bool(headings)
    picture = Image.new("RGB", (columns * pitch_x + GAP_PX, top + rows * pitch_y), SHEET_BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for column, heading in enumerate(headings):
        _write(draw, (GAP_PX + column * pitch_x, GAP_PX), heading, tile_px, centred=True)
    for row, label in enumerate(row_labels):
        _write(draw, (GAP_PX + 2, top + row * pitch_y), label, columns * pitch_x)
    for index, tile in enumerate(tiles):
        x, y = GAP_PX + index % columns * pitch_x, top + index // columns * pitch_y
        picture.paste(Image.fromarray(tile), (x + (tile_px - tile.shape[1]) // 2, y + above))
        if captions:
            _write(draw, (x + 2, y + above + tallest), captions[index], tile_px)
    return np.asarray(picture)


def _write(draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, width_px: int, *, centred: bool = False) -> None:
    """One line of text, cut with an ellipsis to fit."""
    font = _font(14)
    shown = text
    while shown and draw.textlength(shown, font=font) > width_px - 4:
        shown = shown[:-2] + "…" if len(shown) > 2 else ""
    before = 0.5 * (width_px - draw.textlength(shown, font=font)) if centred else 0.0
    draw.text((corner[0] + before, corner[1] + 2), shown, fill=SHEET_TEXT, font=font)


def with_legend(sheet: UInt8[np.ndarray, "H W 3"], entries: Sequence[tuple[str, tuple[int, int, int], bool]]) -> UInt8[np.ndarray, "h W 3"]:
    """The sheet with (text, colour, filled dot or ring) entries below it."""
    picture = _extended(sheet, LINE_PX + GAP_PX)
    draw = ImageDraw.Draw(picture)
    x, y = 12, sheet.shape[0] + LINE_PX // 2
    for text, colour, filled in entries:
        draw.ellipse([x - 5, y - 5, x + 5, y + 5], fill=colour if filled else None, outline=colour, width=2)
        draw.text((x + 12, y - 9), text, fill=SHEET_TEXT, font=_font(14))
        x += 36 + round(draw.textlength(text, font=_font(14)))
    return np.asarray(picture)


def with_colour_bar(sheet: UInt8[np.ndarray, "H W 3"], limit: float, *, label: str = "") -> UInt8[np.ndarray, "h W 3"]:
    """The sheet with the scale of `error_colours` below it, 0 to `limit` mm, and what it measures beside it."""
    picture = _extended(sheet, 2 * LINE_PX + GAP_PX)
    draw = ImageDraw.Draw(picture)
    width, x, y = min(420, sheet.shape[1] - 90), 12, sheet.shape[0] + 6
    linear = FLAT_LIGHT * error_colours(np.linspace(0, limit, width)[None], limit)  # as the faces show them
    bar = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    picture.paste(Image.fromarray(np.repeat((255 * bar + 0.5).astype(np.uint8), 14, axis=0)), (x, y))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        text = f"{share * limit:g}" if share < 1 else f"≥ {limit:g} mm"
        place = x + share * (width - 1)
        draw.line([place, y + 14, place, y + 18], fill=SHEET_TEXT)
        before = 0.0 if share in (0.0, 1.0) else 0.5 * draw.textlength(text, font=_font(13))
        draw.text((place - before, y + 18), text, fill=SHEET_TEXT, font=_font(13))
    if label:
        _write(draw, (x + width + 100, y - 2), label, sheet.shape[1] - x - width - 100)
    return np.asarray(picture)


def _extended(sheet: UInt8[np.ndarray, "H W 3"], extra_px: int) -> Image.Image:
    picture = Image.new("RGB", (sheet.shape[1], sheet.shape[0] + extra_px), SHEET_BACKGROUND)
    picture.paste(Image.fromarray(sheet), (0, 0))
    return picture
