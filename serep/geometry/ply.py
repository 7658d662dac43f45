"""A reader (ascii and binary) and a writer (binary) of PLY that keep the vertex order."""
from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np

from serep.geometry.mesh import Mesh

TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4", "double": "f8",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8",
}  # fmt: skip
FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
Property = tuple[str, str, str | None]  # name, type of the values, type of the count before them (lists only)


def read_ply(path: Path) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """(vertices (V, 3) as written, groups of polygons), as read_obj. ValueError with the file's name for what cannot be read."""
    content = path.read_bytes()
    try:
        order, elements, body = _header(content)
        read = _read_ascii if order == "" else _read_binary
        tables = read(body, elements, order)
    except (KeyError, IndexError, ValueError) as problem:
        raise ValueError(f"{path} cannot be read as PLY: {problem}. Export the mesh again") from None
    vertex, faces = tables.get("vertex", {}), tables.get("face", {})
    polygons = faces.get("vertex_indices", faces.get("vertex_index"))
    if not {"x", "y", "z"} <= vertex.keys() or polygons is None:
        raise ValueError(f"{path} has no vertices with x, y, z and faces with vertex_indices (found: {', '.join(tables) or 'nothing'})")
    vertices = np.stack([np.asarray(vertex[axis], np.float64) for axis in "xyz"], axis=1)
    unsound = np.flatnonzero(~np.isfinite(vertices).all(axis=1))
    if len(unsound):
        raise ValueError(f"{path}: vertex {unsound[0]} is not finite. Export the mesh again, or remove the vertex")
    for rows, corners in polygons:
        if corners.shape[1] < 3 or corners.min() < 0 or corners.max() >= len(vertices):
            bad = int(np.argmax((corners < 0).any(axis=1) | (corners >= len(vertices)).any(axis=1)))
            raise ValueError(f"{path}: face {rows[bad]} is {corners[bad].tolist()}, but faces join 3 or more of vertices 0 to {len(vertices) - 1}")
    if not len(vertices) or not polygons:
        raise ValueError(f"{path} has {len(vertices)} vertices and no faces: it is a point cloud or was cut short; export the mesh with its faces")
    return vertices, polygons


def _header(content: bytes) -> tuple[str, list[tuple[str, int, list[Property]]], bytes]:
    if not content.startswith(b"ply"):
        raise ValueError("it does not begin with 'ply'")
    end = content.find(b"end_header")
    newline = content.find(b"\n", end)
    if end < 0 or newline < 0:
        raise ValueError("its header has no end_header line")
    order, elements = "", []
    for line in content[:end].decode("latin-1").splitlines():
        match line.split():
            case ["format", name, *_]:
                order = FORMATS[name]
            case ["element", name, count]:
                elements.append((name, int(count), []))
            case ["property", "list", count_type, kind, name]:
                elements[-1][2].append((name, TYPES[kind], TYPES[count_type]))
            case ["property", kind, name]:
                elements[-1][2].append((name, TYPES[kind], None))
    return order, elements, content[newline + 1 :]


def _read_ascii(body: bytes, elements: list, order: str) -> dict[str, dict]:
    words = iter(body.split())
    tables: dict[str, dict] = {}
    for name, count, properties in elements:
        if any(count_type for _, _, count_type in properties):
            rows = []
            for row in range(count):
                values = {}
                for key, kind, count_type in properties:
                    length = int(_take(words, 1, name, row)[0]) if count_type else 1
                    values[key] = np.array(_take(words, length, name, row), float if kind[0] == "f" else np.int64)
                rows.append(values)
            tables[name] = _columns(rows, properties)
        else:
            flat = list(islice(words, count * len(properties)))
            if len(flat) < count * len(properties):
                raise ValueError(f"it ends within the element {name!r}: {len(flat) // max(len(properties), 1)} of {count} rows")
            tables[name] = {key: np.array(flat[column :: len(properties)], float) for column, (key, _, _) in enumerate(properties)}
    return tables


def _take(words, count: int, name: str, row: int) -> list[bytes]:
    taken = list(islice(words, count))
    if len(taken) < count:
        raise ValueError(f"it ends within the element {name!r}, row {row}")
    return taken


def _read_binary(body: bytes, elements: list, order: str) -> dict[str, dict]:
    tables: dict[str, dict] = {}
    start = 0
    for name, count, properties in elements:
        first = _row_type(body, start, properties, order) if count else None
        if first is not None and start + count * first.itemsize <= len(body):  # all rows as long as the first, as nearly always
            table = np.frombuffer(body, first, count, start)
            lengths = [(key + " count", first[key].shape[0]) for key, _, count_type in properties if count_type]
            if all((table[key] == length).all() for key, length in lengths):
                rows = np.arange(count)
                tables[name] = {key: [(rows, table[key].astype(np.int64))] if of else table[key] for key, _, of in properties}
                start += count * first.itemsize
                continue
        rows = []
        for row in range(count):
            kind = _row_type(body, start, properties, order)
            if start + kind.itemsize > len(body):
                raise ValueError(f"it ends within the element {name!r}: {row} of {count} rows")
            rows.append(np.frombuffer(body, kind, 1, start)[0])
            start += kind.itemsize
        tables[name] = _columns(rows, properties)
    return tables


def _row_type(body: bytes, start: int, properties: list[Property], order: str) -> np.dtype:
    """The layout of the row that begins at `start`: a list's count stands before its values."""
    fields, offset = [], start
    for key, kind, count_type in properties:
        if count_type is None:
            fields.append((key, order + kind))
        else:
            if offset + np.dtype(count_type).itemsize > len(body):
                raise ValueError("it ends within a list")
            length = int(np.frombuffer(body, order + count_type, 1, offset)[0])
            if length < 0 or offset + length > len(body):
                raise ValueError(f"it has a list of {length} values, which is longer than the file")
            fields += [(key + " count", order + count_type), (key, order + kind, (length,))]
        offset = start + np.dtype(fields).itemsize
    return np.dtype(fields)


def _columns(rows: list, properties: list[Property]) -> dict:
    """Rows of lists of varying length → for each list property its groups of equal length."""
    columns = {}
    for key, _, count_type in properties:
        if count_type is None:
            columns[key] = np.array([row[key] for row in rows]).ravel()
            continue
        lengths = np.array([len(row[key]) for row in rows])
        columns[key] = [
            (found, np.array([rows[row][key] for row in found], np.int64)) for found in (np.flatnonzero(lengths == n) for n in np.unique(lengths))
        ]
    return columns


def ply_bytes(mesh: Mesh) -> bytes:
    """The file's content: binary, positions as float32."""
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(mesh.vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {len(mesh.faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    faces = np.empty(len(mesh.faces), [("count", "u1"), ("corners", "<i4", (3,))])
    faces["count"], faces["corners"] = 3, mesh.faces
    return header.encode() + mesh.vertices.astype("<f4").tobytes() + faces.tobytes()
