import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serep.data.images import read_image
from serep.models import face_boxes
from serep.models.face_boxes import FaceSquare, crop_transform, find_faces, find_faces_of_side, from_crop, landmark_square, sample_square, to_crop, upright_angle


@given(st.floats(-3, 3), st.floats(5, 500), st.floats(-200, 200), st.floats(-200, 200))
def test_crop_coordinates_go_there_and_back(angle, side, x, y):
    transform = crop_transform(np.array([x, y]), side, angle)
    points = np.random.default_rng(0).uniform(-1, 2, (5, 2))
    np.testing.assert_allclose(to_crop(from_crop(points, transform), transform), points, atol=1e-9)
    np.testing.assert_allclose(from_crop(np.array([[0.5, 0.5]]), transform), [[x, y]], atol=1e-9)


@pytest.mark.parametrize("side", [40.0, 90.0, 300.0])
def test_sampling_puts_pixels_where_the_transform_says(side):
    # A blob in the picture: its centre of mass in the crop is where to_crop says, whether the crop enlarges or reduces.
    size, blob = 64, np.array([[203.3, 151.8]])
    y, x = np.mgrid[:320, :400] + 0.5
    width = side / 12
    picture = np.round(255 * np.exp(-((x - blob[0, 0]) ** 2 + (y - blob[0, 1]) ** 2) / (2 * width**2))).astype(np.uint8)[..., None].repeat(3, axis=2)
    transform = crop_transform(blob[0] + [0.1 * side, -0.05 * side], side, 0.3)
    crop = sample_square(picture, transform, size, border=cv2.BORDER_CONSTANT)[..., 0].astype(float)
    rows, columns = np.mgrid[:size, :size] + 0.5
    centre = np.array([(crop * columns).sum(), (crop * rows).sum()]) / crop.sum() / size
    np.testing.assert_allclose(centre, to_crop(blob, transform)[0], atol=0.1 / size)


def test_reducing_does_not_alias():
    # A checkerboard of single pixels is grey once four of its pixels make one of the crop's.
    board = ((np.indices((256, 256)).sum(axis=0) % 2) * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    crop = sample_square(board, crop_transform(np.array([128.0, 128.0]), 256.0, 0.0), 64, border=cv2.BORDER_REFLECT)
    assert np.abs(crop.astype(int) - 127).max() < 12


def test_a_crop_outside_of_the_picture_is_black():
    picture = np.full((50, 50, 3), 255, np.uint8)
    for side in (20.0, 400.0):
        crop = sample_square(picture, crop_transform(np.array([-500.0, -500.0]), side, 0.0), 16, border=cv2.BORDER_CONSTANT)
        assert not crop.any()


def test_landmark_square_takes_the_longer_side():
    square = landmark_square(np.array([[10.0, 20.0], [50.0, 30.0], [20.0, 24.0]]))
    assert square.centre.tolist() == [30.0, 25.0]
    assert square.side == 40.0
    assert square.box(1.5).tolist() == [0.0, -5.0, 60.0, 55.0]


@pytest.mark.parametrize("angle", [-2.0, -0.4, 0.0, 0.3, 1.2])
def test_a_turned_face_has_the_same_square_turned(topology, angle):
    points = topology.landmarks(topology.template)[:, :2] * [1, -1]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    still, found = landmark_square(points, upright_angle(points, topology.landmark_ids)), upright_angle(points @ turn.T, topology.landmark_ids)
    assert abs(still.angle) < 0.02
    assert found == pytest.approx(still.angle + angle)
    square = landmark_square(points @ turn.T, found)
    np.testing.assert_allclose(square.centre, turn @ still.centre, atol=1e-9)
    assert square.side == pytest.approx(still.side) and square.angle == found


def test_profiles_and_landmarks_without_corners_are_upright(topology):
    profile = topology.landmarks(topology.template)[:, [2, 1]] * [1, -1]  # seen from the side: both eyes at one place
    assert abs(upright_angle(profile, topology.landmark_ids)) < np.radians(25)
    assert upright_angle(profile, topology.landmark_ids + 1000) == 0.0


def test_nothing_is_found_where_nothing_is(rng):
    assert find_faces(np.full((240, 320, 3), 128, np.uint8), thorough=True) == []
    assert find_faces(np.zeros((8, 8, 3), np.uint8), thorough=True) == []


def test_doubles_are_one_face():
    near = [FaceSquare(np.array([100.0, 100.0]), side) for side in (40.0, 44.0)] + [FaceSquare(np.array([300.0, 100.0]), 42.0)]
    assert [square.side for square in face_boxes.distinct_squares(near)] == [44.0, 42.0]


def test_faces_of_known_size_are_where_the_full_search_finds_them(shared_data):
    agree = []
    for name in ("face_recognition_biden.jpg", "face_recognition_knn-examples-test-obama1.jpg", "dlib_faces-Tom-Cruise-avp-2014-4.jpg"):
        picture = read_image(shared_data / "real/images" / name)
        whole = find_faces(picture, thorough=False)[0]
        agree += [np.abs(one.centre - whole.centre).max() < 0.15 * whole.side for one in find_faces_of_side(picture, 1.1 * whole.side)[:1]]
        assert find_faces_of_side(picture, 4 * whole.side) == []
    assert sum(agree) >= 2


def test_a_missing_cascade_says_what_to_install(monkeypatch):
    monkeypatch.setattr(cv2.data, "haarcascades", "/nowhere/")
    face_boxes.load_cascade.cache_clear()
    with pytest.raises(RuntimeError, match="no face cascade at .*Install opencv-python-headless 4.x"):
        find_faces(np.full((240, 320, 3), 128, np.uint8), thorough=False)
    face_boxes.load_cascade.cache_clear()


def test_squares_fit_the_faces_of_photographs(shared_data, topology):
    offsets, count = [], 0
    with np.load(shared_data / "real/landmarks478.npz") as archive:
        for name in [name for name in archive.files if name.startswith("images/face_recognition")]:
            picture, wanted = read_image(shared_data / "real" / name), landmark_square(archive[name][topology.landmark_ids].astype(float))
            if wanted.side < 0.1 * max(picture.shape):
                continue  # one of several small faces
            count += 1
            near = [square for square in find_faces(picture, thorough=True) if np.abs(square.centre - wanted.centre).max() < wanted.side]
            offsets += [[*np.abs(square.centre - wanted.centre) / wanted.side, abs(np.log(square.side / wanted.side))] for square in near[:1]]
    assert count > 10 and len(offsets) > 0.8 * count
    assert (np.median(offsets, axis=0) < [0.06, 0.1, 0.15]).all()
