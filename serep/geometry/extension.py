"""Values known at some vertices, carried on over the rest of the surface."""
from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from jaxtyping import Bool, Float

from serep.geometry.mesh import Mesh, zero_area_faces
from serep.geometry.operators import surface_operators


class Extension:
    """Smoothest continuation of what the held vertices have; it fades to zero over `fade` mm, and is zero on parts without a held vertex.

    Minimises the integral of |gradient|² + |value|² / fade². Faces without area are left out.
    """

    def __init__(self, mesh: Mesh, held: Bool[np.ndarray, " V"], *, fade: float) -> None:
        operators = surface_operators(Mesh(mesh.vertices, mesh.faces[~zero_area_faces(mesh.vertices, mesh.faces)]))
        areas = operators.vertex_areas + 1e-9 * max(float(operators.vertex_areas.max()), 1.0)  # a vertex without a face keeps zero
        system = (operators.laplacian + scipy.sparse.diags_array(areas / fade**2)).tocsr()
        self.held, self._free = np.flatnonzero(held), np.flatnonzero(~held)
        self._coupling = system[self._free][:, self.held]
        self._factor = scipy.sparse.linalg.splu(
            system[self._free][:, self._free].tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        ) if len(self._free) else None

    def __call__(self, values: Float[np.ndarray, "V C"]) -> Float[np.ndarray, "V C"]:
        """The values with those of the free vertices replaced."""
        values = np.array(values, np.float64)
        if self._factor is not None:
            values[self._free] = self._factor.solve(-(self._coupling @ values[self.held])) if len(self.held) else 0.0
        return values
