"""What every backend must do; its test class inherits this and sets `name`."""
from dataclasses import replace

import numpy as np
import pytest
from render_scenes import SIZE, camera, even_light, scene, sphere, square, stacked

from serep.geometry import project
from serep.render import Light, open_renderer
from serep.render.sampling import turn
from serep.render.scene import LABELS
from serep.render.shading import INSIDE_SHARE


def broken(picture, **values):
    """The scene with values that the check of shapes, which only tests have, would not let in."""
    picture = replace(picture)
    for name, value in values.items():
        object.__setattr__(picture, name, value)
    return picture


class RendererContract:
    name: str

    @pytest.fixture
    def renderer(self):
        return open_renderer(self.name, size_px=SIZE, fallback=None)

    def test_layers(self, renderer):
        layers = renderer.render(scene(*sphere(40)))
        assert layers.rgb.shape == (SIZE, SIZE, 3) and layers.rgb.dtype == np.uint8
        assert layers.mask.shape == layers.depth.shape == (SIZE, SIZE) and layers.mask.dtype == np.uint8 and layers.depth.dtype == np.float32
        covered = layers.mask == 255
        assert layers.labels.shape == (SIZE, SIZE) and layers.labels.dtype == np.uint8
        assert set(np.unique(layers.mask)) == {0, 255} and covered.sum() == pytest.approx(np.pi * 16.07 * 17.68, rel=0.05)
        np.testing.assert_array_equal(layers.labels, np.where(covered, LABELS.index("skin"), 0))
        assert not layers.rgb[~covered].any() and not layers.depth[~covered].any() and (layers.depth[covered] > 0).all()

    @pytest.mark.parametrize("place", [(0, 0, 0), (25, 30, -60), (-31, -20, 90), (7.3, -41.7, 12.9)])
    @pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), (0.4, -0.3, 0.7)])
    def test_a_known_point_lies_where_it_projects(self, renderer, place, angles):
        rotation = turn(angles[0], 0) @ turn(angles[1], 1) @ turn(angles[2], 2)
        eye = camera(rotation=rotation, focal=160)
        mask = renderer.render(scene(*sphere(4.0, place), camera_used=eye)).mask
        rows, columns = np.nonzero(mask)
        assert len(rows) > 3
        np.testing.assert_allclose([columns.mean() + 0.5, rows.mean() + 0.5], project(np.array(place, float), eye), atol=0.5)

    def test_depth_and_order(self, renderer):
        near, far = square(20, (0, 0, 100)), square(80, (0, 0, -50))
        for pieces, colours in (((near, far), ((1.0, 0, 0), (0, 0, 1.0))), ((far, near), ((0, 0, 1.0), (1.0, 0, 0)))):
            layers = renderer.render(scene(*stacked(*pieces), albedo=np.repeat(np.array(colours), 4, axis=0)))
            at = lambda point: tuple(np.floor(project(np.array(point, float), camera())).astype(int)[::-1])  # noqa: E731
            assert layers.depth[at((0, 0, 100))] == pytest.approx(400, abs=0.1) and layers.depth[at((30, 0, -50))] == pytest.approx(550, abs=0.1)
            (red, _, blue), (far_red, _, far_blue) = layers.rgb[at((0, 0, 100))], layers.rgb[at((30, 0, -50))]
            assert min(red, far_blue) > 200 and max(blue, far_red) < 20

    def test_colour_is_the_srgb_of_the_albedo_in_even_light(self, renderer):
        rgb = renderer.render(scene(*square(500), albedo=(0.5, 0.214, 0.05))).rgb
        np.testing.assert_allclose(rgb.reshape(-1, 3), np.broadcast_to([188, 127, 63], (SIZE * SIZE, 3)), atol=1)

    def test_colours_are_interpolated_in_perspective(self, renderer):
        """Half way along a receding strip in space is nearer to its far end in the picture."""
        strip = np.array([[-30.0, -20, 200], [30, -20, 200], [30, 20, -600], [-30, 20, -600]])
        vertices, faces = strip, np.array([[0, 1, 2], [0, 2, 3]])
        picture = renderer.render(scene(vertices, faces, albedo=np.array([[0.0] * 3] * 2 + [[0.7] * 3] * 2))).rgb
        column, row = np.floor(project(np.array([0.0, 0.0, -200.0]), camera())).astype(int)
        top = picture[np.nonzero(picture[:, column, 0])[0][0], column, 0]
        assert picture[row, column, 0] == pytest.approx(top / 2, abs=12)

    def test_the_inside_is_dark(self, renderer):
        """Lit like the outside (vertex normals follow the triangles' turn), but with a share of the colour."""
        vertices, faces = square(500)
        outside, inside = (renderer.render(scene(vertices, turned)).rgb[10, 10].astype(float) for turned in (faces, faces[:, ::-1]))
        np.testing.assert_allclose(inside, INSIDE_SHARE * outside, atol=1.0)

    def test_closed_surfaces_have_no_inside(self, renderer):
        """Their outside looks as without the promise, and a triangle seen from behind leaves its place to what is further away."""
        ball = scene(*sphere(40))
        closed = replace(ball, closed=np.ones(len(ball.faces), bool))
        one, other = renderer.render(ball), renderer.render(closed)
        assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("rgb", "mask", "depth", "labels"))
        (near, faces), (far, far_faces) = square(40, (0, 0, 50)), square(60, (0, 0, -50))
        both = scene(*stacked((near, faces[:, ::-1]), (far, far_faces)), albedo=np.repeat([[0.9, 0, 0], [0, 0, 0.9]], 4, axis=0))
        centre = tuple(np.floor(project(np.zeros(3), camera())).astype(int)[::-1])
        assert renderer.render(both).rgb[centre][2] < 20
        assert renderer.render(replace(both, closed=np.array([True, True, False, False]))).rgb[centre][2] > 200

    def test_labels_are_those_of_the_nearest_triangle(self, renderer):
        """Also along a border inside one mesh, where both labels share vertices, and for insides."""
        vertices, faces = square(500)
        picture = scene(vertices, faces)
        labels = renderer.render(replace(picture, labels=np.array([3, 9], np.uint8))).labels
        assert set(np.unique(labels)) == {3, 9} and (labels[5, 5], labels[55, 55]) in ((9, 3), (3, 9))
        assert (np.sort([(labels == 3).mean(), (labels == 9).mean()]) > 0.4).all()
        front, back = square(20, (0, 0, 100)), square(200, (0, 0, -50))
        layers = renderer.render(replace(scene(*stacked((front[0], front[1][:, ::-1]), back)), labels=np.array([7, 7, 2, 2], np.uint8)))
        at = tuple(np.floor(project(np.array([0.0, 0.0, 100.0]), camera())).astype(int)[::-1])
        assert layers.labels[at] == 7 and layers.labels[at[0], at[1] - 15] == 2

    def test_nothing_to_draw(self, renderer):
        vertices, faces = square(20)
        behind, beside = vertices + np.array([0, 0, 900]), vertices + np.array([5000, 0, 0])
        for place, triangles in ((vertices, np.zeros((0, 3))), (behind, faces), (beside, faces)):
            layers = renderer.render(scene(place, triangles))
            assert not layers.rgb.any() and not layers.mask.any() and not layers.depth.any() and not layers.labels.any()

    def test_same_bytes_twice_whatever_was_drawn_between(self, renderer):
        one, other = scene(*sphere(40), light=Light(even_light().sh, np.array([0.6, 0.0, 0.8]), np.ones(3))), scene(*sphere(60))
        first = renderer.render(one)
        renderer.render(other)
        again = renderer.render(one)
        assert all(np.array_equal(getattr(first, name), getattr(again, name)) for name in ("rgb", "mask", "depth", "labels"))

    def test_refuses_another_size_and_skew(self, renderer):
        with pytest.raises(ValueError, match="32 x 32 px, the renderer's 64 x 64"):
            renderer.render(scene(*square(20), camera_used=camera(size=32)))
        skewed = camera()
        skewed.intrinsics[0, 1] = 2.0
        with pytest.raises(ValueError, match="skew"):
            renderer.render(scene(*square(20), camera_used=skewed))

    def test_refuses_broken_scenes(self, renderer):
        vertices, faces = square(20)
        nowhere = vertices.copy()
        nowhere[1, 2] = np.nan
        with pytest.raises(ValueError, match="1 of 4 vertices are not finite"):
            renderer.render(scene(nowhere, faces))
        with pytest.raises(ValueError, match="faces name the vertices 0 to 7, but there are only 0 to 3"):
            renderer.render(scene(vertices, [[0, 1, 7]]))
        short = replace(scene(vertices, faces), appearance=scene(vertices[:3], faces[:1]).appearance)
        with pytest.raises(ValueError, match=r"one row for each of the 4 vertices, got lengths \[3, 4\]"):
            renderer.render(short)
        with pytest.raises(ValueError, match=r"one row for each of the 4 vertices, got lengths \[3, 4\]"):
            renderer.render(broken(scene(vertices, faces), lamp_share=np.ones(3)))
        with pytest.raises(ValueError, match=rf"one of the numbers 0 to {len(LABELS) - 1} for each of the 2 faces, got 1 up to 1"):
            renderer.render(broken(scene(vertices, faces), labels=np.ones(1, np.uint8)))
        with pytest.raises(ValueError, match="got 2 up to 99"):
            renderer.render(replace(scene(vertices, faces), labels=np.full(2, 99, np.uint8)))
        with pytest.raises(ValueError, match="closed must have one value for each of the 2 faces, got 3"):
            renderer.render(broken(scene(vertices, faces), closed=np.ones(3, bool)))

    def test_describes_itself(self, renderer):
        assert renderer.describe()["renderer"] == renderer.name == self.name
