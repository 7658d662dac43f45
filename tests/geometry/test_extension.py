import numpy as np
from mesh_shapes import joined, sphere

from serep.geometry.extension import Extension
from serep.geometry.mesh import Mesh


def test_held_values_stay_and_the_rest_lies_between_and_fades(rng):
    ball = sphere(16, 20)
    held = np.abs(ball.vertices[:, 1]) > 40
    values = np.where(ball.vertices[:, [1]] > 0, 1.0, -1.0) * held[:, None]
    near, far = (Extension(ball, held, fade=fade)(values) for fade in (20.0, 1e4))
    np.testing.assert_array_equal(near[held], values[held])
    assert (np.abs(far) <= 1 + 1e-9).all() and (np.sign(far[:, 0]) == np.sign(ball.vertices[:, 1].round(6)))[np.abs(ball.vertices[:, 1]) > 1].all()
    assert (np.abs(near[~held]) <= np.abs(far[~held]) + 1e-9).all() and np.abs(near).sum() < np.abs(far).sum()


def test_parts_and_vertices_without_anything_held_are_zero():
    mesh = joined(sphere(), sphere(centre=(200, 0, 0)))
    mesh = Mesh(np.concatenate([mesh.vertices, [[9.0, 9, 9]]]), np.concatenate([mesh.faces, [[0, 0, 1]]]))  # a loose vertex, a face without area
    held = np.arange(len(mesh.vertices)) < 3
    values = Extension(mesh, held, fade=50.0)(np.ones((len(mesh.vertices), 1)))
    count = len(sphere().vertices)
    assert np.abs(values[count:]).max() < 1e-9 and values[3:count].min() > 0
    np.testing.assert_array_equal(Extension(mesh, np.zeros_like(held), fade=50.0)(np.ones((len(mesh.vertices), 1))), 0)
    np.testing.assert_array_equal(Extension(mesh, np.ones_like(held), fade=50.0)(np.ones((len(mesh.vertices), 1))), 1)
