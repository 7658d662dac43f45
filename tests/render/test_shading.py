from dataclasses import replace

import numpy as np
import pytest
from render_scenes import even_light, scene, sphere, square

from serep.render import Light
from serep.render.shading import EXPOSURE_CEILING, EXPOSURE_FLOOR, lit_colours, mesh_normals


def linear(colours: np.ndarray) -> np.ndarray:
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)


def lamp(direction, strength: float = 1.0, surroundings: float = 0.0) -> Light:
    direction = np.asarray(direction, float)
    return Light(even_light(surroundings).sh, direction / np.linalg.norm(direction), np.full(3, strength))


def test_even_light_shows_the_albedo_times_the_occlusion():
    flat = scene(*square(50), albedo=(0.6, 0.3, 0.1))
    np.testing.assert_allclose(linear(lit_colours(flat)), np.tile([0.6, 0.3, 0.1], (4, 1)), atol=1e-5)
    # The exposure is that of the whole scene, so a shaded half shows half the light of the open one.
    shaded = linear(lit_colours(replace(flat, ambient_occlusion=np.array([0.5, 0.5, 1, 1]))))
    np.testing.assert_allclose(shaded[:2] / shaded[2:], 0.5, atol=1e-4)


@pytest.mark.parametrize(("level", "expected"), [(0.01, EXPOSURE_FLOOR), (0.7, 0.7), (30.0, EXPOSURE_CEILING)])
def test_exposure_keeps_the_light_in_bounds_but_not_the_skin(level, expected):
    for albedo in (0.1, 0.6):
        colours = linear(lit_colours(scene(*square(50), albedo=(albedo,) * 3, light=even_light(level))))
        np.testing.assert_allclose(colours, albedo * expected, rtol=1e-3)


def test_irradiance_of_a_bright_side_is_linear_in_the_normal():
    vertices, faces = sphere(50, rings=40, sectors=60)
    sh = even_light(0.6).sh.copy()
    sh[3] = 0.3 / 0.488603  # brighter towards +x
    values = linear(lit_colours(scene(vertices, faces, light=Light(sh, np.array([0.0, 0, 1]), np.zeros(3)))))[:, 0]
    inner = slice(180, -180)  # near the poles, where vertices share one place, normals are rough
    gain = values[inner] / (0.6 + 0.3 * vertices[inner, 0] / 50)
    np.testing.assert_allclose(gain, gain.mean(), rtol=5e-3)


def test_quadratic_terms_follow_their_definition():
    vertices, faces = sphere(50, rings=40, sectors=60)
    x, y, z = vertices[180:-180].T / 50
    definition = {4: 1.092548 * x * y, 5: 1.092548 * y * z, 6: 0.315392 * (3 * z * z - 1), 7: 1.092548 * x * z, 8: 0.546274 * (x * x - y * y)}
    for index, expected in definition.items():
        sh = even_light(0.7).sh.copy()
        sh[index] = 0.3
        values = linear(lit_colours(scene(vertices, faces, light=Light(sh, np.array([0.0, 0, 1]), np.zeros(3)))))[180:-180, 1]
        gain = values / (0.7 + 0.3 * expected)
        np.testing.assert_allclose(gain, gain.mean(), rtol=5e-3)


def test_lamp_wraps_a_little_beyond_the_terminator():
    vertices, faces = sphere(50)
    values = linear(lit_colours(scene(vertices, faces, light=lamp([1, 0, 0]))))[:, 0]
    side = vertices[:, 0] / 50
    assert values[side > 0.98].min() > 2 * values[abs(side) < 0.02].max() > 0
    assert values[side < -0.4].max() == 0


def test_gloss_sits_between_lamp_and_camera_and_not_in_the_shade():
    vertices, faces = sphere(50, rings=60, sectors=90)
    matt = scene(vertices, faces, albedo=(0.1,) * 3, light=lamp([1, 0, 1], surroundings=0.3))
    shiny = replace(matt, appearance=replace(matt.appearance, specular=np.full(len(vertices), 0.1), shininess=np.full(len(vertices), 60.0)))
    gloss = linear(lit_colours(shiny))[:, 0] - linear(lit_colours(matt))[:, 0]
    brightest = vertices[gloss.argmax()] / 50
    halfway = np.array([np.sin(np.pi / 8), 0, np.cos(np.pi / 8)])
    assert brightest @ halfway > 0.98 and gloss.max() > 0.1
    assert abs(gloss[vertices[:, 0] + vertices[:, 2] < 0]).max() < 1e-6


def test_what_stands_before_the_lamp_takes_its_light_and_gloss():
    """Half of the lamp's share is half of its light; the surroundings stay."""
    vertices, faces = sphere(50)
    ball = scene(vertices, faces, albedo=(0.3,) * 3, light=lamp([0, 0, 1], 0.3, surroundings=0.5))
    ball = replace(ball, appearance=replace(ball.appearance, specular=np.full(len(vertices), 0.02)))
    full, half, none = (linear(lit_colours(replace(ball, lamp_share=np.full(len(vertices), share))))[:, 0] for share in (1.0, 0.5, 0.0))
    dark = linear(lit_colours(replace(ball, light=lamp([0, 0, 1], 0.0, surroundings=0.5))))[:, 0]
    np.testing.assert_allclose(none, dark, atol=1e-5)
    np.testing.assert_allclose(half - none, (full - none) / 2, atol=1e-4)
    assert (full - none).max() > 0.05
    np.testing.assert_array_equal(lit_colours(ball), lit_colours(replace(ball, lamp_share=np.ones(len(vertices)))))


def test_mesh_normals_are_those_of_the_geometry(topology):
    from serep.geometry import vertex_normals

    np.testing.assert_allclose(mesh_normals(topology.template, topology.faces), vertex_normals(topology.template, topology.faces), atol=1e-9)


def test_highlights_never_overflow():
    colours = lit_colours(scene(*sphere(50), albedo=(0.95,) * 3, light=lamp([0, 0, 1], 50.0, 20.0)))
    assert colours.dtype == np.float32 and colours.min() >= 0 and colours.max() <= 1
