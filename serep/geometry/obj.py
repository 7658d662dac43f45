"""A fast reader and a writer of Wavefront OBJ that keep the vertex order: `v` and `f` lines count, all else is passed over."""
from __future__ import annotations

import re
import warnings
from io import BytesIO
from pathlib import Path
from typing import NoReturn

import numpy as np

from serep.geometry.mesh import Mesh

TEXTURE_AND_NORMAL = re.compile(rb"/[-\d/]*")
VERTEX, FACE = (b"v ", b"v\t", b"v"), (b"f ", b"f\t", b"f")  # the first two characters; alone where a file was cut short


def read_obj(path: Path) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """(vertices (V, 3) as written, groups of polygons): a group is (row numbers among all polygons, corners (P, sides), from 0).

    Understands `v/vt/vn` corners, negative indices, comments, continued lines, CRLF, and vertex lines with a weight or a colour.
    ValueError with file and line for what cannot be read.
    """
    text = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"#" in text:
        text = re.sub(rb"#[^\n]*", b"", text)
    if b"\\\n" in text:
        text = re.sub(rb"[^\n]*(?:\\\n[^\n]*)+", _join_continued, text)
    lines = text.split(b"\n")
    if b"\n " in text or b"\n\t" in text or text[:1] in b" \t":
        lines = [line.lstrip() for line in lines]
    vertex_lines = [line for line in lines if line[:2] in VERTEX]
    face_lines = [line for line in lines if line[:2] in FACE]
    if not vertex_lines or not face_lines:
        raise ValueError(f"{path} has {len(vertex_lines)} vertices and {len(face_lines)} faces: it is no mesh, or it was cut short; export it again")
    try:
        return _vertices(vertex_lines), _polygons(lines, vertex_lines, face_lines)
    except ValueError:
        _raise_for_first_bad_line(path, lines)


def _join_continued(match: re.Match[bytes]) -> bytes:
    """One line out of lines that end in a backslash, and empty lines after it, so that line numbers stay true."""
    return match.group().replace(b"\\\n", b" ") + b"\n" * match.group().count(b"\\\n")


def _vertices(lines: list[bytes]) -> np.ndarray:
    numbers = b" ".join(lines).split()
    width, rest = divmod(len(numbers), len(lines))
    if not rest and width in (4, 5, 7, 8) and numbers[::width].count(b"v") == len(lines):  # the same count on every line, as nearly always
        columns = [list(map(float, numbers[column::width])) for column in (1, 2, 3)]
        vertices = np.array(columns).T
    else:
        vertices = np.array([_vertex(line) for line in lines])
    if not np.isfinite(vertices).all():
        raise ValueError("not finite")
    return np.ascontiguousarray(vertices)


def _vertex(line: bytes) -> list[float]:
    numbers = [float(number) for number in line.split()[1:]]
    if len(numbers) not in (3, 4, 6, 7):
        raise ValueError(f"a vertex has 3 coordinates (and maybe a weight or a colour), got {len(numbers)} numbers")
    if not np.isfinite(numbers[:3]).all():
        raise ValueError("a coordinate is not finite")
    return numbers[:3]


def _polygons(lines: list[bytes], vertex_lines: list[bytes], face_lines: list[bytes]) -> list[tuple[np.ndarray, np.ndarray]]:
    text = b" ".join([line[1:] for line in face_lines])
    sides = np.array([len(line.split()) for line in face_lines]) - 1
    corners = _regular_corners(text)
    if corners is None:
        corners = np.array(list(map(int, TEXTURE_AND_NORMAL.sub(b"", text).split())), np.int64)
    if len(corners) != sides.sum() or sides.min() < 3:
        raise ValueError("a face has fewer than 3 corners")
    if corners.min() < 0:  # counts back from the vertices that the file had up to that line
        is_vertex = np.array([line[:2] in VERTEX for line in lines])
        is_face = np.array([line[:2] in FACE for line in lines])
        above = np.repeat(np.cumsum(is_vertex)[is_face], sides)
        corners = np.where(corners < 0, above + corners + 1, corners)
    if corners.min() < 1 or corners.max() > len(vertex_lines):
        raise ValueError("a face names a vertex that does not exist")
    corners -= 1
    starts = np.cumsum(sides) - sides
    groups = []
    for count in np.unique(sides):
        rows = np.flatnonzero(sides == count)
        groups.append((rows, corners[starts[rows, None] + np.arange(count)]))
    return groups


def _regular_corners(text: bytes) -> np.ndarray | None:
    """The vertex numbers of face lines whose corners are all `v`, all `v/vt` or all `v/vt/vn`, three times as fast; None for other text."""
    if b"//" in text:
        return None
    letters = np.frombuffer(text, np.uint8)
    inside = letters > ord(" ")
    starts = np.flatnonzero(inside[1:] & ~inside[:-1])  # lines come without their first letter, so every corner follows a blank
    slashes = np.diff(np.append(np.cumsum(letters == ord("/"))[starts], text.count(b"/")))
    if not len(starts) or (slashes != slashes[0]).any():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what is no number only causes a warning
        try:
            numbers = np.fromstring(text.replace(b"/", b" "), np.int64, sep=" ")
        except (DeprecationWarning, ValueError):
            return None
    per_corner = int(slashes[0]) + 1
    return numbers[::per_corner] if len(numbers) == per_corner * len(starts) else None


def _raise_for_first_bad_line(path: Path, lines: list[bytes]) -> NoReturn:
    """Reads line by line, slowly, to say where and why the file cannot be read."""
    vertex_count, above = sum(line[:2] in VERTEX for line in lines), 0
    for number, line in enumerate(lines, start=1):
        try:
            if line[:2] in VERTEX:
                above += 1
                _vertex(line)
            elif line[:2] in FACE:
                corners = [int(TEXTURE_AND_NORMAL.sub(b"", word)) for word in line.split()[1:]]
                if len(corners) < 3:
                    raise ValueError(f"a face has at least 3 corners, got {len(corners)}")
                for corner in corners:
                    if not 1 <= (corner if corner >= 0 else above + corner + 1) <= vertex_count:
                        raise ValueError(f"a face names vertex {corner}, but the file has {vertex_count} vertices")
        except ValueError as problem:
            shown = line.decode("latin-1").strip()[:80]
            raise ValueError(f"{path} line {number}: {problem}, in {shown!r}. Export the mesh again, or mend the line") from None
    raise ValueError(f"{path} cannot be read as OBJ: no single line is wrong, so please report this file")


def obj_bytes(mesh: Mesh) -> bytes:
    """The file's content; nine digits, which is exact for float32."""
    out = BytesIO()
    np.savetxt(out, mesh.vertices, fmt="v %.9g %.9g %.9g")
    np.savetxt(out, mesh.faces + 1, fmt="f %d %d %d")
    return out.getvalue()
