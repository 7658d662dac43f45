"""Deformation gradients, the Poisson solve that turns them back into vertices, and deformation transfer.

Method: Sumner and Popović, "Deformation transfer for triangle meshes", SIGGRAPH 2004. A deformation gradient is the 3 x 3 matrix that
carries a face's edges (and its scaled normal) from the neutral to the deformed mesh; it knows nothing of where the face is, and little
of whose face it is.
"""
from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph
import scipy.sparse.linalg
from jaxtyping import Float, Int

from serep.geometry.mesh import Mesh, zero_area_faces
from serep.geometry.operators import surface_operators

SUMS_BATCH = 10  # sums of modes per pass: their solutions stay in the cache
SOLVE_BATCH = 16  # meshes per pass: their gradients (about 20 MB at 18,000 faces) stay near the cache while they are reordered


def deformation_gradients(
    neutral: Float[np.ndarray, "V 3"], deformed: Float[np.ndarray, "*B V 3"], faces: Int[np.ndarray, "F 3"]
) -> Float[np.ndarray, "*B F 3 3"]:
    """Per face the matrix S with `S @ neutral edge = deformed edge`, the normal scaled by the square root of the area's ratio.

    Identity where nothing moves, R where the face turns by R. ValueError when a face of the neutral has no area.
    """
    empty = np.flatnonzero(zero_area_faces(neutral, faces))
    if len(empty):
        raise ValueError(f"{len(empty)} faces of the neutral have no area (first: face {empty[0]}): remove them or move their vertices apart")
    return _frames(deformed, faces) @ np.linalg.inv(_frames(np.asarray(neutral, np.float64), faces))


def _frames(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(..., F, 3, 3): as columns two edges and the normal, whose length is the square root of the edges' cross product's."""
    frames = np.empty((*vertices.shape[:-2], len(faces), 3, 3))
    origin = vertices[..., faces[:, 0], :]
    frames[..., 0] = vertices[..., faces[:, 1], :] - origin
    frames[..., 1] = vertices[..., faces[:, 2], :] - origin
    normals = np.cross(frames[..., 0], frames[..., 1])
    lengths = np.linalg.norm(normals, axis=-1, keepdims=True)
    frames[..., 2] = normals / np.sqrt(np.where(lengths > 0, lengths, 1))
    return frames


class PoissonSolver:
    """Positions whose edges fit given deformation gradients best, for one neutral; factored once, in float64.

    Minimises the area-weighted squared difference between the surface gradient of the positions and the neutral's own gradient carried by
    the given matrices. Fixed vertices keep the neutral's positions exactly. Gradients cannot say where a part of the mesh lies that holds
    no fixed vertex (an eyeball, say): such a *floating* part keeps its centroid (the mean of its vertices) at the neutral's, and
    `floating_parts` lists its vertices.
    """

    def __init__(self, neutral: Mesh, *, fixed: Int[np.ndarray, " n"]) -> None:
        """ValueError when a face has no area, or when `fixed` is empty or names vertices that do not exist."""
        vertex_count = len(neutral.vertices)
        fixed = np.unique(fixed)
        if not len(fixed) or fixed[0] < 0 or fixed[-1] >= vertex_count:
            raise ValueError(f"fixed must name at least one of the vertices 0 to {vertex_count - 1}, got {len(fixed)} ids ({fixed[:5].tolist()} …)")
        operators = surface_operators(neutral)
        self.neutral = neutral
        self.fixed = fixed.astype(np.int32)
        self.floating_parts = _parts_without(fixed, neutral)
        held = np.concatenate([self.fixed, *[part[:1] for part in self.floating_parts]])  # one vertex of a floating part: it moves back below
        self._free = np.setdiff1d(np.arange(vertex_count), held)
        divergence = operators.gradient.multiply(np.repeat(operators.face_areas, 3)[:, None]).T.tocsr()
        self._divergence = divergence[self._free]
        stiffness = operators.laplacian[self._free][:, self._free].tocsc()
        self._factor = scipy.sparse.linalg.splu(  # symmetric positive definite: no pivoting, fill-in by the pattern of A + A^T
            stiffness, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        ) if len(self._free) else None

    def solve(self, gradients: Float[np.ndarray, "*B F 3 3"]) -> Float[np.ndarray, "*B V 3"]:
        """Positions in mm for deformation gradients (identity everywhere gives the neutral)."""
        return self._solve(gradients, minus_identity=True) + self.neutral.vertices

    def solve_displacements(self, gradient_offsets: Float[np.ndarray, "*B F 3 3"]) -> Float[np.ndarray, "*B V 3"]:
        """Displacements from the neutral in mm for the gradients identity + offset; linear in the offsets, zero for zero."""
        return self._solve(gradient_offsets, minus_identity=False)

    def _solve(self, gradients: np.ndarray, *, minus_identity: bool) -> np.ndarray:
        face_count = len(self.neutral.faces)
        if gradients.shape[-3] != face_count:
            raise ValueError(f"this solver's mesh has {face_count} faces, got gradients of {gradients.shape[-3]}: use one topology throughout")
        meshes = gradients.reshape(-1, face_count, 3, 3)
        displacements = np.zeros((len(meshes), len(self.neutral.vertices), 3))
        for start in range(0, len(meshes) if self._factor else 0, SOLVE_BATCH):
            batch = meshes[start : start + SOLVE_BATCH]
            # Rows as in the gradient operator (3 face + axis), one column for each mesh and coordinate.
            right = np.empty((face_count, 3, len(batch), 3))
            np.copyto(right, batch.transpose(1, 3, 0, 2))
            if minus_identity:
                right -= np.eye(3)[:, None]
            solution = self._factor.solve(self._divergence @ right.reshape(3 * face_count, -1))
            displacements[start : start + SOLVE_BATCH, self._free] = solution.reshape(-1, len(batch), 3).swapaxes(0, 1)
        if not np.isfinite(displacements).all():
            raise ValueError("gradients must be finite, got NaN or infinity: check the mesh or the network that they come from")
        for part in self.floating_parts:
            displacements[:, part] -= displacements[:, part].mean(axis=1, keepdims=True)
        return displacements.reshape(*gradients.shape[:-3], -1, 3)


    def solve_sums(self, modes: Float[np.ndarray, "D C"], coefficients: Float[np.ndarray, "B K"]) -> Float[np.ndarray, "B V 3"]:
        """Displacements (mm, float32) of sums of K gradient modes, one solve for each sum: cheaper than one for each mode where sums are fewer.

        `modes` has a row for each face and gradient axis (3 face + axis) and a column for each coordinate and mode (K coordinate + mode), float32;
        their divergences are added up in float32, the solve is in float64.
        """
        sums, count = coefficients.shape
        divergences = (self._divergence.astype(np.float32) @ modes).reshape(-1, count)
        displacements = np.zeros((sums, len(self.neutral.vertices), 3), np.float32)
        for start in range(0, sums, SUMS_BATCH):
            some = coefficients[start : start + SUMS_BATCH]
            right = np.asfortranarray((divergences @ some.T).reshape(len(self._free), 3 * len(some)), np.float64)
            displacements[start : start + len(some), self._free] = self._factor.solve(right).reshape(-1, 3, len(some)).transpose(2, 0, 1)
        for part in self.floating_parts:
            displacements[:, part] -= displacements[:, part].mean(axis=1, keepdims=True)
        return displacements


def _parts_without(fixed: np.ndarray, neutral: Mesh) -> list[np.ndarray]:
    """Vertex ids of each connected part of the mesh that holds no fixed vertex (a vertex without a face is a part of its own)."""
    count = len(neutral.vertices)
    starts, ends = neutral.faces.ravel(), neutral.faces[:, [1, 2, 0]].ravel()
    edges = scipy.sparse.coo_array((np.ones(len(starts), np.int8), (starts, ends)), shape=(count, count))
    _, labels = scipy.sparse.csgraph.connected_components(edges, directed=False)
    return [np.flatnonzero(labels == label) for label in np.setdiff1d(labels, labels[fixed])]


def deformation_transfer(
    source_neutral: Float[np.ndarray, "V 3"], source_expressive: Float[np.ndarray, "B V 3"], target: PoissonSolver
) -> Float[np.ndarray, "B V 3"]:
    """Each expression of the source, performed by the target's neutral (same faces, any shape), in mm.

    The target's fixed vertices stay. A floating part moves as its source moved: its turn comes from the gradients, its centroid's
    displacement from the source's.
    """
    if source_neutral.shape != target.neutral.vertices.shape:
        counts = f"the source has {len(source_neutral)} vertices, the target {len(target.neutral.vertices)}"
        raise ValueError(f"source and target need one topology, but {counts}: map one to the other's topology first")
    moved = np.empty(source_expressive.shape)
    for start in range(0, len(moved), SOLVE_BATCH):
        batch = slice(start, start + SOLVE_BATCH)
        moved[batch] = target.solve(deformation_gradients(source_neutral, source_expressive[batch], target.neutral.faces))
    for part in target.floating_parts:
        moved[:, part] += (source_expressive[:, part] - source_neutral[part]).mean(axis=1, keepdims=True)
    return moved
