import numpy as np
import pytest
from mesh_shapes import sphere

from serep.geometry import Mesh, eigenbasis, face_normals, surface_operators


def test_gradient_of_a_linear_map_is_that_map(rng):
    mesh = sphere()
    matrix = rng.standard_normal((3, 5))
    gradient = (surface_operators(mesh).gradient @ (mesh.vertices @ matrix + rng.standard_normal(5))).reshape(-1, 3, 5)
    normals = face_normals(mesh.vertices, mesh.faces)
    tangent = np.eye(3) - normals[:, :, None] * normals[:, None, :]
    np.testing.assert_allclose(gradient, tangent @ matrix, atol=1e-12)


def test_laplacian_is_symmetric_semidefinite_and_blind_to_constants(rng):
    operators = surface_operators(sphere())
    laplacian = operators.laplacian.toarray()
    np.testing.assert_allclose(laplacian, laplacian.T, atol=1e-12)
    np.testing.assert_allclose(laplacian @ np.ones(len(laplacian)), 0, atol=1e-12)
    assert np.linalg.eigvalsh(laplacian)[0] > -1e-12
    gradient = operators.gradient.toarray()
    np.testing.assert_allclose(laplacian, gradient.T @ (np.repeat(operators.face_areas, 3)[:, None] * gradient), atol=1e-12)


def test_eigenvalues_of_the_sphere():
    """On a sphere of radius r they are l (l + 1) / r², 2 l + 1 times each."""
    operators = surface_operators(sphere(rings=48, sectors=96, radius=10.0))
    values, vectors = eigenbasis(operators, 9)
    np.testing.assert_allclose(values * 100, [0, 2, 2, 2, 6, 6, 6, 6, 6], rtol=0.01, atol=1e-6)
    np.testing.assert_allclose(vectors.T @ (operators.vertex_areas[:, None] * vectors), np.eye(9), atol=1e-9)
    again = eigenbasis(operators, 9)[1]
    assert np.array_equal(vectors, again)


def test_refusals():
    mesh = sphere()
    with pytest.raises(ValueError, match=r"no area \(first: face 0"):
        surface_operators(Mesh(mesh.vertices, np.array([[4, 4, 5], [0, 1, 2]])))
    with pytest.raises(ValueError, match="not finite"):
        surface_operators(mesh.with_vertices(np.full_like(mesh.vertices, np.nan)))
    with pytest.raises(ValueError, match="count"):
        eigenbasis(surface_operators(mesh), len(mesh.vertices))
    loose = Mesh(np.concatenate([mesh.vertices, [[0, 0, 0]]]), mesh.faces)
    with pytest.raises(ValueError, match=f"vertex {len(mesh.vertices)} belongs to no face"):
        eigenbasis(surface_operators(loose), 4)
