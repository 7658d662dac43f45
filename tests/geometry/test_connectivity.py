import numpy as np
from mesh_shapes import joined, sphere

from serep.geometry.connectivity import boundary_edges, part_labels, welded_faces
from serep.geometry.mesh import Mesh

SQUARE = Mesh(np.array([[0, 0, 0], [10.0, 0, 0], [10, 10, 0], [0, 10, 0]]), np.array([[0, 1, 2], [0, 2, 3]]))
SPLIT = Mesh(SQUARE.vertices[[0, 1, 2, 0, 2, 3]], np.array([[0, 1, 2], [3, 4, 5]]))  # the diagonal as a texture seam


def test_borders_are_the_edges_of_single_faces():
    assert len(boundary_edges(sphere())) == 0
    edges = boundary_edges(SQUARE)
    ends = {tuple(sorted(SQUARE.faces[face, [(corner + 1) % 3, (corner + 2) % 3]].tolist())) for face, corner in edges}
    assert ends == {(0, 1), (1, 2), (2, 3), (0, 3)}


def test_seams_are_neither_borders_nor_cuts():
    assert len(boundary_edges(SPLIT)) == 4
    assert len(np.unique(part_labels(SPLIT))) == 1
    assert len(np.unique(welded_faces(SPLIT))) == 4


def test_parts_are_what_hangs_together():
    two = joined(sphere(), sphere(centre=(200, 0, 0)))
    labels = part_labels(Mesh(np.concatenate([two.vertices, [[0.0, 0, 0]]]), two.faces))
    count = len(sphere().vertices)
    assert len(np.unique(labels)) == 3 and len(np.unique(labels[:count])) == 1 and labels[0] != labels[count] != labels[-1]


def test_inner_vertices_at_one_place_stay_two():
    """Lips that touch inside a closed surface are no seam."""
    ball = sphere()
    touching = ball.with_vertices(np.where(np.arange(len(ball.vertices))[:, None] == 5, ball.vertices[20], ball.vertices))
    np.testing.assert_array_equal(welded_faces(touching), touching.faces)
