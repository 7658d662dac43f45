"""Pure geometry: no faces, no files except mesh I/O.

Conventions, everywhere in `serep`
----------------------------------
Length     millimetres; any other unit is in the name (`_cm`, `_m`), converted in readers and writers only.
Axes       y up, z out of the face, x to the subject's left (right-handed).
Triangles  counter-clockwise seen from outside.
Transforms `a_to_b`, applied to row vectors as `points @ rotation.T + translation`.
Camera     OpenCV frame: x right, y down, z forward.
Pixels     continuous, origin at the image's top-left corner; pixel (row i, column j) covers [j, j+1) x [i, i+1).
Images     uint8 RGB, (H, W, 3).
Precision  float64 in geometry, float32 in stored arrays and in networks.

Axis letters: B batch, T frames, V vertices, F faces, K modes, Z code size, L landmarks, S subjects, E expression units, H W pixels.
"""
from serep.geometry.camera import Camera, project, to_camera
from serep.geometry.deformation import PoissonSolver, deformation_gradients, deformation_transfer
from serep.geometry.mesh import Mesh, face_areas, face_normals, mesh_problems, vertex_areas, vertex_normals
from serep.geometry.mesh_io import read_mesh, triangulate, write_mesh
from serep.geometry.operators import SurfaceOperators, eigenbasis, surface_operators
from serep.geometry.rigid import apply_rigid, rigid_align

__all__ = [
    "Camera", "Mesh", "PoissonSolver", "SurfaceOperators", "apply_rigid", "deformation_gradients", "deformation_transfer", "eigenbasis",
    "face_areas", "face_normals", "mesh_problems", "project", "read_mesh", "rigid_align", "surface_operators", "to_camera", "triangulate",
    "vertex_areas", "vertex_normals", "write_mesh",
]  # fmt: skip
