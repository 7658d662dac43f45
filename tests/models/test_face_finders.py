import numpy as np
import pytest

from serep.data.images import read_image
from serep.models.face_finders import FINDERS, cut_square, find_squares


def test_a_cut_is_where_and_as_large_as_asked():
    rows, columns = np.mgrid[:100, :120]
    picture = np.stack([columns, rows, np.full_like(rows, 7)], axis=-1).astype(np.uint8)
    crop = cut_square(picture, np.array([60.0, 50.0, 20.0]), 2.0, 40)
    np.testing.assert_array_equal(crop[0, 0], [40, 30, 7])
    np.testing.assert_array_equal(crop[-1, -1], [79, 69, 7])
    assert cut_square(picture, np.array([0.0, 0.0, 40.0]), 1.0, 40)[0, 0].tolist() == [0, 0, 7]  # beyond the picture its edge goes on


def test_nothing_is_no_face(rng):
    for picture in (np.full((200, 300, 3), 90, np.uint8), rng.integers(0, 255, (120, 160, 3), np.uint8)):
        assert find_squares(picture).shape == (0, 3)


@pytest.mark.parametrize(("name", "count"), [("face_recognition_biden.jpg", 1), ("face_recognition_two-people.jpg", 2), ("skimage_astronaut.png", 1)])
def test_faces_of_photographs(shared_data, name, count):
    assert len(FINDERS["cascades"](read_image(shared_data / "real/images" / name))) == count
