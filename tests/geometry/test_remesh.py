import numpy as np
import pytest
from mesh_shapes import joined, sphere
from small_heads import sheet

from serep.geometry.mesh import Mesh, face_areas, mesh_problems
from serep.geometry.remesh import cropped, permuted, remeshed, subdivided
from serep.geometry.surface_map import map_to_surface

SHEET = Mesh(*sheet()[:2])


@pytest.mark.parametrize("way", ["subdivided", "cropped", "permuted", "remeshed"])
def test_vertices_are_carried_and_the_mesh_is_sound(way, rng):
    mesh = joined(SHEET, sphere(20, 30, 60.0, centre=(300, 0, 0)))
    made, matrix = {
        "subdivided": lambda: subdivided(mesh), "cropped": lambda: cropped(mesh, mesh.vertices[:, 1] > -31),
        "permuted": lambda: permuted(mesh, rng=rng), "remeshed": lambda: remeshed(mesh, 600, rng=rng),
    }[way]()  # fmt: skip
    np.testing.assert_allclose(made.vertices, matrix @ mesh.vertices, atol=1e-9)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    assert mesh_problems(made) == []
    assert map_to_surface(made.vertices, None, mesh).distance.max() < 1e-6


def test_subdivision_keeps_the_surface_and_counts():
    made, _ = subdivided(SHEET)
    assert len(made.faces) == 4 * len(SHEET.faces)
    assert face_areas(made.vertices, made.faces).sum() == pytest.approx(face_areas(SHEET.vertices, SHEET.faces).sum())


def test_cropping_leaves_out_what_is_not_kept():
    made, matrix = cropped(SHEET, SHEET.vertices[:, 0] > 0.1)
    assert made.vertices[:, 0].min() > 0.1 and matrix.shape == (len(made.vertices), len(SHEET.vertices))


def test_remeshing_moves_vertices_turns_edges_and_meets_the_number(rng):
    ball = sphere(20, 30, 60.0)
    made, _ = remeshed(ball, 500, rng=rng)
    assert len(made.vertices) == 500 and len(made.faces) == 996  # Euler's formula: still one closed sphere
    assert (map_to_surface(ball.vertices, None, made).distance > 0.1).mean() > 0.5
    again, _ = remeshed(ball, 500, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(again.vertices, made.vertices)
    other, _ = remeshed(ball, 500, rng=np.random.default_rng(1))
    assert not np.array_equal(other.vertices, made.vertices)
