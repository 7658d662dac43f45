import numpy as np
import pytest
from render_scenes import sphere, square, stacked

from serep.geometry import Mesh
from serep.render import ambient_occlusion
from serep.render.ambient_occlusion import sphere_directions


def test_directions_are_even():
    directions = sphere_directions(200)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    np.testing.assert_allclose(directions.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(directions.T @ directions / 200, np.eye(3) / 3, atol=0.02)


def test_a_ball_sees_the_whole_sky():
    assert ambient_occlusion(Mesh(*sphere(100)), rays=64, floor=0.0).min() > 0.95


def test_a_floor_under_a_plate_is_dark_in_the_middle():
    grid = np.linspace(-100, 100, 21)
    x, z = np.meshgrid(grid, grid)
    ground = np.stack([x.ravel(), np.zeros(441), z.ravel()], 1)
    corner = (np.arange(20)[:, None] * 21 + np.arange(20)).ravel()
    faces = np.concatenate([np.stack([corner, corner + 21, corner + 1], 1), np.stack([corner + 1, corner + 21, corner + 22], 1)])
    plate, plate_faces = square(100)
    plate = np.stack([plate[:, 0], np.full(4, 20.0), plate[:, 1]], 1)
    sky = ambient_occlusion(Mesh(*stacked((ground, faces), (plate, plate_faces))), rays=256, floor=0.0)
    middle, rim = sky[220], sky[0]
    # Form factor of a square plate of 100 x 100 at height 20 seen from the point under its middle: 4 corners of 50 x 50.
    a = 50 / 20
    seen_plate = 4 * (1 / np.pi) * (a / np.sqrt(1 + a * a)) * np.arctan(a / np.sqrt(1 + a * a))
    assert middle == pytest.approx(1 - seen_plate, abs=0.05) and rim > 0.9


def test_floor_may_differ_by_vertex(topology):
    mesh = topology.mesh(topology.template)
    free = ambient_occlusion(mesh, rays=16, floor=0.0)
    least = np.linspace(0, 1, len(free))
    np.testing.assert_array_equal(ambient_occlusion(mesh, rays=16, floor=least), np.maximum(free, least).astype(np.float32))
    with pytest.raises(ValueError, match="at least one ray, got 0"):
        ambient_occlusion(mesh, rays=0, floor=0.0)


def test_on_a_head(topology):
    """Forehead open, the mouth behind shut lips closed, both sides alike."""
    sky = ambient_occlusion(topology.mesh(topology.template), rays=64, floor=0.0)
    assert sky.dtype == np.float32 and sky.min() >= 0 and sky.max() <= 1
    assert sky[topology.regions["eyes_forehead"] > 0].mean() > 0.75
    assert sky[topology.parts == topology.part_names.index("mouth_inside")].mean() < 0.3
    assert np.abs(sky - sky[topology.mirror]).mean() < 0.05
