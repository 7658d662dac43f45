"""The published assets of MultiREX (CC BY-NC-ND 4.0), read from the user's own copy and never shipped: masks, neutrals, sparse maps."""
from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse
from jaxtyping import Float

from serep.benchmark.multirex import MULTIFACE_VERTICES, OFFICIAL_REGIONS, RegionProtocol, protocol_from_masks
from serep.data.multirex_recordings import Recording
from serep.geometry.mesh import Mesh
from serep.geometry.mesh_io import read_mesh

MESH_SUFFIXES = (".obj", ".ply")
METRE = 1000.0
OTHER_LINE = re.compile(rb"\n(?:vt|vn|f)[ \t]")
VERTEX_LINE = re.compile(rb"^v[ \t]+([^\r\n]*)", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class Conversion:
    """A sparse map from a prediction's topology to Multiface, and the person's neutral in that topology (mm) where there is one."""

    matrix: scipy.sparse.csr_matrix
    neutral: Float[np.ndarray, "V 3"] | None
    source: Path

    @property
    def vertex_count(self) -> int:
        return self.matrix.shape[1]


def protocol_from_assets(assets: Path) -> RegionProtocol:
    """The official protocol on the Multiface topology, out of `<assets>/regions/*.npy`."""
    masks = {}
    for name in sorted(set(OFFICIAL_REGIONS) | set(OFFICIAL_REGIONS.values())):
        path = assets / "regions" / f"{name}_region.npy"
        if not path.is_file():
            raise FileNotFoundError(f"no region mask {path}: give the `assets` folder of a MultiREX checkout")
        masks[name] = np.load(path, allow_pickle=False).astype(np.int64)
    return protocol_from_masks(masks, MULTIFACE_VERTICES)


def conversion_from_assets(assets: Path, identity: str) -> Conversion:
    """The published map FLAME -> Multiface of one person, (7306, 5023), and the FLAME neutral; rows are barycentric weights."""
    path = _only(assets / "conversion_matrices", f"{identity}_*_FLAME_to_multiface_weights_sparse_v1.npz", "conversion matrices", identity)
    neutral = METRE * obj_vertices(_only(assets / "Neutrals_FLAME", f"{identity}_*.obj", "FLAME neutrals", identity))
    return _checked(read_sparse_map(path), neutral, path)


def conversion_from_maps(maps: Path, identity: str) -> Conversion:
    """The user's own map of another topology: `<maps>/<person>*.npz` (7306, V) with a neutral `<person>*.obj` or `.ply` in mm beside it.

    `maps` may be one .npz too: then it serves every person, without neutrals.
    """
    if maps.is_file():
        return _checked(read_sparse_map(maps), None, maps)
    path = _only(maps, f"{identity}*.npz", "sparse maps", identity)
    neutrals = [mesh for suffix in MESH_SUFFIXES for mesh in sorted(maps.glob(f"{identity}*{suffix}"))]
    if len(neutrals) > 1:
        raise ValueError(f"two neutrals of person {identity} in {maps}: {neutrals[0].name} and {neutrals[1].name}; keep one")
    return _checked(read_sparse_map(path), read_mesh(neutrals[0]).vertices if neutrals else None, path)


def multiface_neutral(assets: Path, recording: Recording) -> Float[np.ndarray, "V 3"]:
    """The person's neutral in the topology of the truth, mm."""
    return obj_vertices(_multiface_file(assets, recording), expected=MULTIFACE_VERTICES)


def multiface_mesh(assets: Path, recording: Recording) -> Mesh:
    return read_mesh(_multiface_file(assets, recording))


def obj_vertices(path: Path, *, expected: int | None = None) -> Float[np.ndarray, "V 3"]:
    """The vertices of an .obj, in its unit and order, without its faces: a tenth of the time of reading the mesh."""
    content = path.read_bytes()
    end = OTHER_LINE.search(content)
    rest = end.start() if end else len(content)
    several = content.find(b"\nv ", rest) >= 0 or content.find(b"\nv\t", rest) >= 0  # blocks: most files have all vertices before anything else
    lines = VERTEX_LINE.findall(content if several else content[:rest])
    numbers = b" ".join(lines).split()
    if expected is not None and len(lines) != expected:
        raise ValueError(f"{path} has {len(lines)} vertices, needs {expected}: fetch it again")
    # A weight, a colour or a number that is none: the whole reader knows them, and says what is wrong.
    plain = len(numbers) == 3 * len(lines) > 0
    try:
        return np.fromiter(map(float, numbers), np.float64, len(numbers)).reshape(-1, 3) if plain else read_mesh(path).vertices
    except ValueError:
        return read_mesh(path).vertices


def read_sparse_map(path: Path) -> scipy.sparse.csr_matrix:
    """A sparse matrix as scipy writes it. ValueError naming the file when it is none or has another height than Multiface."""
    try:
        matrix = scipy.sparse.csr_matrix(scipy.sparse.load_npz(path))
    except (ValueError, OSError, KeyError, EOFError) as error:
        raise ValueError(f"{path} is no sparse matrix ({error}): write it with scipy.sparse.save_npz, or with serep score map") from None
    if matrix.shape[0] != MULTIFACE_VERTICES or not np.isfinite(matrix.data).all():
        raise ValueError(f"{path} has shape {matrix.shape}, a map to Multiface has {MULTIFACE_VERTICES} finite rows, one a vertex: is it transposed?")
    return matrix


def _checked(matrix: scipy.sparse.csr_matrix, neutral: np.ndarray | None, path: Path) -> Conversion:
    if neutral is not None and len(neutral) != matrix.shape[1]:
        raise ValueError(f"{path} maps {matrix.shape[1]} vertices, the neutral beside it has {len(neutral)}: they must share one topology")
    return Conversion(matrix, neutral, path)


def _multiface_file(assets: Path, recording: Recording) -> Path:
    path = assets / "Neutrals_Multiface" / f"{recording.neutral_name}.obj"
    if not path.is_file():
        raise FileNotFoundError(f"no neutral {path} of person {recording.identity}: give the whole `assets` folder of a MultiREX checkout")
    return path


def _only(folder: Path, pattern: str, what: str, identity: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        names = f" ({', '.join(path.name for path in found)})" if found else ""
        raise FileNotFoundError(f"{len(found)} {what} of person {identity} in {folder}{names}, needs exactly one")
    return found[0]
