import numpy as np
import pytest
from mesh_shapes import joined, random_rotation, sphere

from serep.geometry.mesh import Mesh, vertex_normals
from serep.geometry.surface_map import Surface, closest_weights, map_to_surface


def grid(columns: int = 4, rows: int = 3, size: float = 10.0) -> Mesh:
    """A flat sheet that looks along z."""
    x, y = np.meshgrid(size * np.arange(columns + 1), size * np.arange(rows + 1))
    corner = (np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)).ravel()
    faces = [np.stack([corner, corner + 1, corner + columns + 2], 1), np.stack([corner, corner + columns + 2, corner + columns + 1], 1)]
    return Mesh(np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], 1), np.concatenate(faces))


def brute_force(points, normals, mesh, surface, min_cosine):
    triangles = mesh.vertices[mesh.faces]
    distance = np.full(len(points), np.inf)
    for row, (point, normal) in enumerate(zip(points, normals, strict=True)):
        kept = triangles[surface.normals @ normal >= min_cosine]
        places = np.einsum("fca,fc->fa", kept, closest_weights(np.broadcast_to(point, (len(kept), 3)), kept))
        distance[row] = np.linalg.norm(places - point, axis=1).min(initial=np.inf)
    return distance


def test_places_are_the_nearest_ones_that_look_the_same_way(rng):
    """Triangles of very different sizes, points near and far, with and without a partner."""
    mesh = joined(sphere(10, 12, 50.0), sphere(12, 16, 12.0, centre=(20, 10, 60)), grid())
    surface = Surface(mesh)
    points = 60 * rng.standard_normal((300, 3))
    normals = rng.standard_normal((300, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    found = surface.nearest(points, normals, min_cosine=0.6, max_distance=25.0)
    expected = brute_force(points, normals, mesh, surface, 0.6)
    np.testing.assert_array_equal(found.found, expected <= 25.0)
    np.testing.assert_allclose(found.distance[found.found], expected[found.found], atol=1e-9)
    on_mesh = np.linalg.norm(found.places(mesh.vertices) - points, axis=1)[found.found]
    np.testing.assert_allclose(on_mesh, found.distance[found.found], atol=1e-9)
    assert (np.einsum("na,na->n", surface.normals[found.face], normals)[found.found] >= 0.6).all()


def test_a_vertex_maps_to_itself_and_the_matrix_carries_values(rng):
    mesh = sphere()
    found = map_to_surface(mesh.vertices, vertex_normals(mesh.vertices, mesh.faces), mesh)
    assert found.found.all() and found.distance.max() < 1e-9
    values = rng.standard_normal((len(mesh.vertices), 2))
    np.testing.assert_allclose(found.matrix @ values, values, atol=1e-9)
    np.testing.assert_allclose(found.matrix.sum(axis=1), 1)


def test_rotated_meshes_have_the_same_map(rng):
    mesh, rotation = sphere(), random_rotation(rng)
    points = 55 * rng.standard_normal((40, 3))
    first, second = (map_to_surface(points @ turn, None, mesh.with_vertices(mesh.vertices @ turn)) for turn in (np.eye(3), rotation))
    np.testing.assert_allclose(first.distance, second.distance, atol=1e-9)


def test_touching_lips_are_told_apart_by_their_normals():
    """Two sheets 0.1 mm apart, one looking up, one down."""
    lower = grid()
    upper = Mesh(lower.vertices + np.array([0, 0, 0.1]), lower.faces[:, ::-1])
    both = joined(lower, upper)
    points = np.array([[15.0, 12.0, 0.09], [15.0, 12.0, 0.01]])
    places = map_to_surface(points, np.array([[0, 0, 1.0], [0, 0, -1.0]]), both).places(both.vertices)
    np.testing.assert_allclose(places[:, 2], [0.0, 0.1], atol=1e-12)
    either = Surface(both).nearest(points, np.tile([0, 0, 1.0], (2, 1)), either_side=True).places(both.vertices)
    np.testing.assert_allclose(either[:, 2], [0.1, 0.0], atol=1e-12)


def test_what_lies_beyond_the_border_says_so_and_seams_are_no_border():
    sheet = grid()
    points = np.array([[-3.0, 12.0, 0.0], [20.0, 12.0, 1.0], [20.0, -4.0, 0.0]])
    np.testing.assert_array_equal(map_to_surface(points, None, sheet).on_border, [True, False, True])
    # The sheet as a texture seam cuts it: the column at x = 20 exists twice.
    right = (sheet.vertices[sheet.faces][:, :, 0].mean(axis=1) > 20)[:, None]
    seam = np.isclose(sheet.vertices[:, 0], 20)
    copies = np.cumsum(seam) - 1 + len(sheet.vertices)
    cut = Mesh(np.concatenate([sheet.vertices, sheet.vertices[seam]]), np.where(right & seam[sheet.faces], copies[sheet.faces], sheet.faces))
    assert not map_to_surface(np.array([[20.0, 12.0, 1.0]]), None, cut).on_border[0]


def test_nothing_within_reach_gives_an_empty_row_and_nan():
    found = map_to_surface(np.array([[0, 0, 90.0], [0, 0, 50.0]]), None, sphere(), max_distance=5.0)
    np.testing.assert_array_equal(found.found, [False, True])
    assert np.isinf(found.distance[0]) and np.isnan(found.places(sphere().vertices)[0]).all()
    assert found.matrix[[0]].nnz == 0 and found.where(np.array([True, False])).matrix.nnz == 0


def test_alike_weighs_normals_against_distance():
    lower = grid()
    both = joined(lower, Mesh(lower.vertices + np.array([0, 0, 6.0]), lower.faces[:, ::-1]))
    point, normal = np.array([[17.0, 13.0, 5.0]]), np.array([[0, 0, 1.0]])
    assert Surface(both).alike(point, normal, normal_reach=60.0)[0][0, 2] == 0
    assert Surface(both).alike(point, normal, normal_reach=0.1)[0][0, 2] == 6


def test_a_mesh_without_a_surface_is_refused_and_empty_faces_are_left_out():
    with pytest.raises(ValueError, match=r"no face with an area \(1 faces\)"):
        Surface(Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]])))
    sheet = grid()
    with_sliver = Mesh(sheet.vertices, np.concatenate([[[0, 0, 1]], sheet.faces]))
    found = map_to_surface(np.array([[1.0, 0.0, 0.0]]), None, with_sliver)
    assert found.face[0] > 0 and found.distance[0] < 1e-12
