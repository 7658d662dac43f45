import numpy as np
import pytest

from serep.geometry import project
from serep.render.clay import draw_shapes, portrait_camera
from serep.render.sheets import SHEET_BACKGROUND, error_colours, with_colour_bar


def plate(size):
    """A square that faces the camera, in two triangles."""
    corners = size / 2 * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], float)
    return corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def test_portrait_camera_shows_its_extent():
    camera = portrait_camera(300.0, size_px=120, field_of_view_deg=22.0)
    corners = project(np.array([[-150.0, 150.0, 0.0], [150.0, -150.0, 0.0], [0.0, 0.0, 0.0]]), camera)
    np.testing.assert_allclose(corners, [[0, 0], [120, 120], [60, 60]], atol=1e-9)


def test_each_shape_is_seen_through_its_own_camera():
    vertices, faces = plate(100.0)
    cameras = [portrait_camera(extent, size_px=64, field_of_view_deg=20.0) for extent in (200.0, 400.0)]
    images = draw_shapes(np.stack([vertices, vertices]), faces, cameras=cameras)
    covered = (images != np.array(SHEET_BACKGROUND)).any(axis=-1).mean(axis=(1, 2))
    np.testing.assert_allclose(covered, [1 / 4, 1 / 16], atol=0.01)


def test_colours_that_stand_for_numbers_are_as_on_the_bar():
    vertices, faces = plate(150.0)
    colours = error_colours(np.full((1, 4), 1.0), 2.0)
    picture = draw_shapes(vertices[None], faces, cameras=[portrait_camera(100.0, size_px=32, field_of_view_deg=20.0)], colours=colours)[0]
    bar = with_colour_bar(np.zeros((10, 510, 3), np.uint8), 2.0)[10 + 6 + 5, 12 + 210].astype(int)
    assert np.abs(picture[16, 16] - bar).max() < 14


def test_the_bar_says_what_it_measures():
    sheet = np.zeros((10, 700, 3), np.uint8)
    plain, labelled = with_colour_bar(sheet, 2.0), with_colour_bar(sheet, 2.0, label="motion")
    assert plain.shape == labelled.shape
    rows, columns = np.nonzero((plain != labelled).any(axis=-1))
    assert columns.min() > 12 + 420 and 10 < rows.min() < rows.max() < 40
    with pytest.raises(ValueError, match="above 0 mm"):
        with_colour_bar(sheet, 0.0)
