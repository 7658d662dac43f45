"""A sparse map from any topology to Multiface, built from neutrals of the benchmark's people in that topology: closest places on their surface."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse
from jaxtyping import Float, Int

from serep.benchmark.multirex import RegionProtocol, region_errors
from serep.benchmark.multirex_assets import MESH_SUFFIXES, multiface_mesh, protocol_from_assets
from serep.data.multirex_recordings import read_recordings
from serep.files import partial_file
from serep.geometry.mesh import Mesh, vertex_normals
from serep.geometry.mesh_io import read_mesh, write_mesh
from serep.geometry.rigid import apply_rigid, rigid_align
from serep.geometry.surface_map import Surface

ALIGNMENT_ROUNDS = 30
SETTLED = 1e-4  # mm of change in the mean distance
MAX_DISTANCE = 1.5  # mm, mean over the measured vertices, beyond which the neutral is not of this person
MIN_COVERED = 0.98  # of the measured vertices

NeutralOf = Callable[[str, Mesh], tuple[Mesh, str]]  # person, published neutral -> neutral in another topology, where it comes from


@dataclass(frozen=True, eq=False)
class SurfaceConversion:
    """Rows are barycentric weights on the neutral's triangles; rows of vertices that the protocol never reads may be empty.

    distance   mm from each measured Multiface vertex to its place
    """

    matrix: scipy.sparse.csr_matrix
    distance: Float[np.ndarray, " n"]


def build_conversion(neutral: Mesh, multiface: Mesh, protocol: RegionProtocol) -> SurfaceConversion:
    """`neutral` is the person in the new topology, roughly where the published neutral is; the last difference in pose is taken off.

    The predicted neutral, so converted, is as near to the truth's as its surface is. ValueError when the surface is another one, or has holes
    where the protocol measures.
    """
    used = protocol.compact()[1]
    normals = vertex_normals(multiface.vertices, multiface.faces)
    surface = Surface(neutral)
    points, turned = _posed_on(surface, multiface.vertices[used], normals[used])
    places = surface.nearest(points, turned)
    covered = places.found.mean()
    distance = np.where(places.found, places.distance, np.nan)
    away = float(np.nanmean(distance)) if places.found.any() else float("inf")
    if away > MAX_DISTANCE:
        raise ValueError(
            f"the neutral lies {away:.1f} mm from the published one on average (at most {MAX_DISTANCE} mm): it must be the same person, in mm, "
            "y up and z out of the face, registered to the published neutral"
        )
    if covered < MIN_COVERED:
        raise ValueError(f"the neutral covers {covered:.0%} of the measured vertices (needs {MIN_COVERED:.0%}): its face has holes, or its triangles face inwards")
    lost = np.flatnonzero(~places.found)
    anywhere = surface.nearest(points[lost]) if len(lost) else None
    matrix = scipy.sparse.lil_matrix((protocol.vertex_count, len(neutral.vertices)))
    _fill(matrix, used[places.found], places.corners[places.found], places.weights[places.found])
    if anywhere is not None:
        _fill(matrix, used[lost], anywhere.corners, anywhere.weights)
        distance[lost] = anywhere.distance
    return SurfaceConversion(matrix.tocsr(), distance)


def _posed_on(surface: Surface, points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"]) -> tuple[np.ndarray, np.ndarray]:
    """Points and normals moved rigidly onto the surface (iterated closest points, from where they are)."""
    posed, turned, before = points, normals, np.inf
    for _ in range(ALIGNMENT_ROUNDS):
        places = surface.nearest(posed, turned)
        away = float(places.distance[places.found].mean()) if places.found.sum() > 3 else np.inf
        if not before - away > SETTLED:
            break
        before = away
        rotation, shift = rigid_align(points[places.found], places.places(surface.mesh.vertices)[places.found])
        posed, turned = apply_rigid(points, rotation, shift), normals @ rotation.T
    return posed, turned


def _fill(matrix: scipy.sparse.lil_matrix, rows: Int[np.ndarray, " n"], corners: Int[np.ndarray, "n 3"], weights: Float[np.ndarray, "n 3"]) -> None:
    for corner in range(3):
        matrix[rows, corners[:, corner]] += weights[:, corner]



def write_conversions(out: Path, assets: Path, neutral_of: NeutralOf) -> Iterator[tuple[str, dict[str, float]]]:
    """`<person>.npz` (the map) and `<person>.obj` (the neutral, mm) of every person; yields each one and its floor by region (mm)."""
    protocol = protocol_from_assets(assets)
    for one in read_recordings(assets):
        multiface = multiface_mesh(assets, one)
        neutral, source = neutral_of(one.identity, multiface)
        try:
            built = build_conversion(neutral, multiface, protocol)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from None
        with partial_file(out / f"{one.identity}.npz") as partial, partial.open("wb") as stream:
            scipy.sparse.save_npz(stream, built.matrix)
        write_mesh(out / f"{one.identity}.obj", neutral)
        errors = region_errors((built.matrix @ neutral.vertices)[None], multiface.vertices[None], protocol, mode="fixed")[0]
        yield one.identity, dict(zip(protocol.regions, errors.tolist(), strict=True))


def neutrals_in(folder: Path, assets: Path, **axes: str) -> NeutralOf:
    """Neutrals out of a folder, `<person>*.obj` or `.ply` with unit, up and front in `axes`; all of them are looked for before the first is read."""
    files = {one.identity: _neutral_file(folder, one.identity) for one in read_recordings(assets)}
    return lambda identity, _: (read_mesh(files[identity], **axes), str(files[identity]))


def neutrals_by(register: Callable[[Mesh], Mesh]) -> NeutralOf:
    """Neutrals that a model makes of the published ones: its own topology in the shape of each person, in the person's frame."""
    def neutral_of(identity: str, multiface: Mesh) -> tuple[Mesh, str]:
        try:
            return register(multiface), f"the model on person {identity}"
        except ValueError as error:
            raise ValueError(f"the model cannot be laid on person {identity}: {error}") from None

    return neutral_of


def _neutral_file(folder: Path, identity: str) -> Path:
    found = [path for suffix in MESH_SUFFIXES for path in sorted(folder.glob(f"{identity}*{suffix}"))]
    if len(found) != 1:
        raise FileNotFoundError(f"{len(found)} neutrals of person {identity} in {folder}, needs exactly one ({identity}*.obj or .ply)")
    return found[0]
