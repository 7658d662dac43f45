"""Heads that move, packed for the report's 3D view (`viewer.js`): every head's frames as a few shapes and their weights, quantised.

Layout. The page holds one JSON object. Its `bytes` are base64 of zlib of all arrays, one after another, each on a multiple of four bytes and
little-endian; an array is named by {type: u1 | u2 | u4 | i2 | f4, offset: bytes, length: numbers}. A head at frame t is
`base + sum over k of weights[t * modes + k] * shapes[k]`, with shapes (modes, V, 3) as int16 and all that scales them in the weights (mm).
"""
from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int16, UInt8
from PIL import Image

from serep.benchmark.figures import draw_faces
from serep.benchmark.report_content import Figure, Viewer
from serep.faces.topology import FaceTopology
from serep.render.sheets import error_colours, jpeg_bytes, tile_sheet, with_colour_bar

ROLES = ("source", "own", "baseline", "truth")  # the errors of own and baseline heads against the truth are shown
TYPES = {"u1": "<u1", "u2": "<u2", "u4": "<u4", "i2": "<i2", "f4": "<f4"}
INT16_TOP = 32767
STEP_SHARE = 0.2  # of the tolerance: the finest step of a stored shape. Finer ones would only store noise, which does not compress
COLOUR_STEPS = 64
PART_TONES = {"skin": 150, "eye_left": 235, "eye_right": 235, "mouth_inside": 70, "teeth": 225}
REGION_TONES = {"iris": 95, "pupil": 20}
FILM_TILE_PX, FILM_COLUMNS, FILM_QUALITY = 208, 10, 70
STILL_TILE_PX = 200


@dataclass(frozen=True, eq=False)
class Head:
    """One head over time, mm."""

    name: str
    role: str
    vertices: Float[np.ndarray, "T V 3"]


@dataclass(frozen=True, eq=False)
class Clip:
    """Heads that play the same frames beside each other.

    `name` in a word or two, `title` in a sentence; `marks`: (frame, what is seen there), the first is shown at the start; `film`: what a camera
    saw at each frame, square, shown beside the heads.
    """

    name: str
    title: str
    heads: tuple[Head, ...]
    fps: float
    marks: tuple[tuple[int, str], ...]
    film: UInt8[np.ndarray, "T S S 3"] | None = None

    def __post_init__(self) -> None:
        frames = len(self.heads[0].vertices) if self.heads else 0
        if not frames:
            raise ValueError(f"clip '{self.name}' has no head with a frame: give at least one")
        for head in self.heads:
            if head.role not in ROLES:
                raise ValueError(f"clip '{self.name}', head '{head.name}': role must be one of {', '.join(ROLES)}, got '{head.role}'")
            if len(head.vertices) != frames:
                raise ValueError(f"clip '{self.name}': head '{head.name}' has {len(head.vertices)} frames, the first has {frames}. Give all the same")
            if not np.isfinite(head.vertices).all():
                raise ValueError(f"clip '{self.name}': head '{head.name}' has NaN or infinite positions. Check what made it")
        if sum(head.role == "truth" for head in self.heads) > 1:
            raise ValueError(f"clip '{self.name}' has more than one truth: errors need exactly one")
        if self.film is not None and len(self.film) != frames:
            raise ValueError(f"clip '{self.name}': the film has {len(self.film)} frames, the heads have {frames}. Give all the same")
        outside = [frame for frame, _ in self.marks if not 0 <= frame < frames]
        if outside or not self.marks:
            raise ValueError(f"clip '{self.name}' needs at least one mark, each in frames 0 to {frames - 1}; got {[frame for frame, _ in self.marks]}")
        if not self.fps > 0:
            raise ValueError(f"clip '{self.name}': fps must be positive, got {self.fps}")

    @property
    def truth(self) -> Head | None:
        return next((head for head in self.heads if head.role == "truth"), None)


def make_viewer(clips: Sequence[Clip], topology: FaceTopology, *, limit: float, tolerance: float, budget_bytes: int, text: str = "") -> Viewer:
    """The clips packed for the page, and a still picture of the first clip's first mark.

    limit: mm at the bright end of error colours. tolerance: mm by which a packed vertex may be off; doubled until all arrays take no more than
    `budget_bytes` of the page (films not counted). How far off the vertices are at most is told to the reader.
    """
    vertices = {head.vertices.shape[1] for clip in clips for head in clip.heads}
    if vertices != {len(topology.template)}:
        raise ValueError(f"the heads have {sorted(vertices)} vertices, topology '{topology.name}' has {len(topology.template)}: heads of another one?")
    if not (limit > 0 and tolerance > 0 and budget_bytes > 0):
        raise ValueError(f"limit, tolerance and budget_bytes must be positive, got {limit}, {tolerance} and {budget_bytes}")
    while True:
        arrays = _Arrays()
        header = {
            "limit_mm": limit,
            "vertices": len(topology.template),
            "triangles": arrays.add(topology.faces, "u2" if len(topology.template) <= 0x10000 else "u4"),
            "face": arrays.add(topology.regions["face"] > 0.5, "u1"),
            "tones": arrays.add(_tones(topology), "u1"),
            "colours": arrays.add(_sheet_colours(np.linspace(0, limit, COLOUR_STEPS), limit), "u1"),
        }
        packed, worst = _pack(clips, topology, arrays, tolerance)
        text_of_arrays = arrays.text()
        if len(text_of_arrays) <= budget_bytes or all(head["modes"] == 0 for clip in packed for head in clip["heads"]):
            break
        tolerance *= 2
    data = json.dumps(header | {"clips": packed, "bytes": text_of_arrays}, allow_nan=False, separators=(",", ":"), sort_keys=True)
    for character in "<>&\u2028\u2029":  # the page holds this inside a script element
        data = data.replace(character, f"\\u{ord(character):04x}")
    names = ", ".join(head.name for head in clips[0].heads)
    still = Figure(_still(clips[0], topology, limit), f"{clips[0].title}: {clips[0].marks[0][1]}.", f"Still picture of the heads ({names}) and their errors")
    return Viewer(data, still, worst, text)


def compress(vertices: Float[np.ndarray, "T V 3"], *, tolerance: float) -> tuple[Float[np.ndarray, "V 3"], Int16[np.ndarray, "K V 3"], Float[np.ndarray, "T K"]]:
    """(base, shapes, weights) with as few shapes as keep every vertex of every frame within `tolerance` mm.

    Principal components of these frames: what a rig of K blendshapes played has never more than K of them, and often a tenth.
    """
    base = vertices[0].astype(np.float32)
    motion = (vertices.astype(np.float64) - base).reshape(len(vertices), -1)
    energy, directions = np.linalg.eigh(motion @ motion.T)
    directions = directions[:, ::-1][:, energy[::-1] > 0]
    shapes, weights, rest = [], [], motion.copy()
    for direction in directions.T:
        if np.linalg.norm(rest.reshape(*vertices.shape), axis=-1).max() <= tolerance:
            break
        shape = direction @ rest
        reach = np.abs(shape).max()
        if reach == 0:
            break
        scale = max(reach / INT16_TOP, STEP_SHARE * tolerance / np.abs(direction).max())
        shape /= scale * (1 if shape[np.abs(shape).argmax()] > 0 else -1)  # an eigenvector's sign is arbitrary
        stored = np.round(shape).astype(np.int16)
        weight = (rest @ stored / (stored.astype(np.float64) @ stored)).astype(np.float32)
        rest -= weight[:, None].astype(np.float64) * stored
        shapes.append(stored.reshape(base.shape))
        weights.append(weight)
    return base, np.array(shapes, np.int16).reshape(-1, *base.shape), np.array(weights, np.float32).reshape(-1, len(vertices)).T


class _Arrays:
    """Arrays one after another, equal ones once."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._places: dict[tuple[str, bytes], int] = {}
        self._size = 0

    def add(self, values: np.ndarray, kind: str) -> dict[str, str | int]:
        content = np.ascontiguousarray(values, TYPES[kind]).tobytes()
        key = (kind, content)
        if key not in self._places:
            self._places[key] = self._size
            padded = content + bytes(-len(content) % 4)
            self._chunks.append(padded)
            self._size += len(padded)
        return {"type": kind, "offset": self._places[key], "length": values.size}

    def text(self) -> str:
        return base64.b64encode(zlib.compress(b"".join(self._chunks), 9)).decode("ascii")


def _pack(clips: Sequence[Clip], topology: FaceTopology, arrays: _Arrays, tolerance: float) -> tuple[list[dict], float]:
    """The clips with their arrays added to `arrays`, and the largest distance of a packed vertex from the given one."""
    packed, worst = [], 0.0
    face = topology.regions["face"] > 0.5
    for clip in clips:
        heads = []
        for head in clip.heads:
            base, shapes, weights = compress(head.vertices, tolerance=tolerance)
            restored = base + (weights.astype(np.float64) @ shapes.reshape(len(shapes), base.size)).reshape(head.vertices.shape)
            worst = max(worst, float(np.linalg.norm(restored - head.vertices, axis=-1).max()))
            skull = base[base[:, 1] >= base[face, 1].min()]  # what is above the chin: the neck would pull the centre down
            centre = 0.5 * (skull.min(axis=0) + skull.max(axis=0))
            heads.append({
                "name": head.name, "error": clip.truth is not None and head.role in ("own", "baseline"), "truth": head.role == "truth",
                "modes": len(shapes), "base": arrays.add(base, "f4"), "shapes": arrays.add(shapes, "i2"), "weights": arrays.add(weights, "f4"),
                "centre": [round(float(value), 3) for value in centre], "radius": round(float(np.linalg.norm(skull - centre, axis=1).max()), 3),
            })  # fmt: skip
        packed.append({
            "name": clip.name, "title": clip.title, "fps": clip.fps, "frames": len(clip.heads[0].vertices), "heads": heads,
            "marks": [[int(frame), str(label)] for frame, label in clip.marks], "film": None if clip.film is None else _film(clip.film),
        })  # fmt: skip
    return packed, worst


def _film(images: UInt8[np.ndarray, "T S S 3"]) -> dict[str, str | int]:
    """All frames as tiles of one JPEG: a page shows one by moving the picture behind a window."""
    size = min(FILM_TILE_PX, images.shape[1])
    rows = -(-len(images) // FILM_COLUMNS)
    sheet = Image.new("RGB", (FILM_COLUMNS * size, rows * size))
    for frame, image in enumerate(images):
        sheet.paste(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS), (frame % FILM_COLUMNS * size, frame // FILM_COLUMNS * size))
    buffer = io.BytesIO()
    sheet.save(buffer, format="JPEG", quality=FILM_QUALITY)
    return {"source": "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii"), "columns": FILM_COLUMNS, "rows": rows}


def _tones(topology: FaceTopology) -> UInt8[np.ndarray, " V"]:
    """How light each vertex is where it shows no error."""
    tones = np.array([PART_TONES.get(name, PART_TONES["skin"]) for name in topology.part_names], np.float64)[topology.parts]
    for name, tone in REGION_TONES.items():
        share = topology.regions.get(name, np.zeros(len(tones)))
        tones = (1 - share) * tones + share * tone
    return np.round(tones).astype(np.uint8)


def _sheet_colours(errors: Float[np.ndarray, " n"], limit: float) -> UInt8[np.ndarray, "n 3"]:
    """The colours of the error maps in the report's pictures, sRGB."""
    linear = error_colours(errors[None], limit)[0]
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255 * encoded).astype(np.uint8)


def _still(clip: Clip, topology: FaceTopology, limit: float) -> bytes:
    """The heads at the first mark, then the error of each that has one: JPEG."""
    frame = clip.marks[0][0]
    headings = [head.name for head in clip.heads]
    tiles = [draw_faces(head.vertices[frame][None], topology, size_px=STILL_TILE_PX)[0] for head in clip.heads]
    for head in clip.heads:
        if clip.truth is not None and head.role in ("own", "baseline"):
            errors = np.linalg.norm(head.vertices[frame] - clip.truth.vertices[frame], axis=-1)
            colours = error_colours(errors[None], limit)
            tiles.append(draw_faces(head.vertices[frame][None], topology, size_px=STILL_TILE_PX, colours=colours)[0])
            headings.append(f"error: {head.name}")
    sheet = tile_sheet(tiles, len(tiles), STILL_TILE_PX, (), headings=headings)
    return jpeg_bytes(with_colour_bar(sheet, limit))
