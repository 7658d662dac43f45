"""Held-out performances and the five cameras that film them."""
import numpy as np
import pytest

from serep.benchmark.sequences import VIEW_GROUPS, VIEW_YAW_DEG, played_rows, ramp, range_of_motion, view_cameras
from serep.geometry.camera import project


def test_every_expression_is_shown_in_full_between_neutrals(rng):
    neutral, expressives = rng.standard_normal((7, 3)), rng.standard_normal((3, 7, 3))
    sequence = range_of_motion(neutral, expressives, frames_per_expression=8)
    assert sequence.shape == (25, 7, 3)
    np.testing.assert_array_equal(sequence[[0, 8, 16, 24]], [neutral] * 4)
    np.testing.assert_allclose(sequence[[4, 12, 20]], expressives, atol=1e-14)


def test_motion_is_smooth_and_symmetric(rng):
    neutral, expressives = np.zeros((1, 3)), np.array([[[0.0, -10.0, 0.0]], [[4.0, 0.0, 0.0]]])
    sequence = range_of_motion(neutral, expressives, frames_per_expression=40)
    np.testing.assert_allclose(sequence[:41], sequence[40::-1], atol=1e-12)
    velocity = np.linalg.norm(np.diff(sequence, axis=0), axis=-1)
    assert velocity.max() < 10 * np.pi / 40  # a cosine's steepest step
    assert velocity[[0, 19, 20, 39, 40, 79]].max() < 0.07  # starts, peaks and ends at rest
    assert (np.diff(ramp(40)[:21]) > 0).all()


def test_stored_precision_is_accepted(rng):
    neutral, expressives = rng.standard_normal((7, 3)).astype(np.float32), rng.standard_normal((2, 7, 3)).astype(np.float32)
    assert range_of_motion(neutral, expressives, frames_per_expression=4).dtype == np.float64


@pytest.mark.parametrize("frames", [2, 5])
def test_a_ramp_that_misses_the_peak_is_refused(frames):
    with pytest.raises(ValueError, match=f"must be even and at least 4, so that one shows the whole expression; got {frames}"):
        ramp(frames)


def test_each_view_is_in_exactly_one_group():
    grouped = [view for views in VIEW_GROUPS.values() for view in views]
    assert sorted(grouped) == sorted(VIEW_YAW_DEG)


@pytest.fixture
def sphere(rng):
    points = rng.standard_normal((5000, 3))
    return 100 * points / np.linalg.norm(points, axis=1, keepdims=True) + np.array([10.0, 1600.0, -30.0])


def test_cameras_frame_the_face(sphere):
    for camera in view_cameras(sphere, size_px=200, field_of_view_deg=25.0, fill=0.9).values():
        pixels = project(sphere, camera)
        assert (camera.width, camera.height) == (200, 200)
        np.testing.assert_allclose(pixels.min(axis=0), 10, atol=1.5)
        np.testing.assert_allclose(pixels.max(axis=0), 190, atol=1.5)


def test_cameras_stand_where_their_names_say(sphere):
    cameras = view_cameras(sphere, size_px=200, field_of_view_deg=25.0, fill=0.9)
    middle = 0.5 * (sphere.min(axis=0) + sphere.max(axis=0))
    distances = {view: np.linalg.norm(camera.centre - middle) for view, camera in cameras.items()}
    assert max(distances.values()) - min(distances.values()) < 1e-9
    for view, yaw_deg in VIEW_YAW_DEG.items():
        offset = cameras[view].centre - middle
        assert np.degrees(np.arctan2(offset[0], offset[2])) == pytest.approx(yaw_deg, abs=1e-9)
        assert offset[1] == pytest.approx(0, abs=1e-9)
    left_cheek, forehead, nose = middle + np.array([[50.0, 0, 60], [0, 50, 0], [0, 0, 100]])
    assert project(left_cheek, cameras["front"])[0] > 100  # the subject's left is on the right of the image
    assert project(forehead, cameras["front"])[1] < 100
    assert project(nose, cameras["left_60"])[0] < 100  # seen from their left, the nose points to image left


def test_fill_is_checked(sphere):
    with pytest.raises(ValueError, match=r"fill must be in \(0, 2\], got 2\.5"):
        view_cameras(sphere, size_px=200, field_of_view_deg=25.0, fill=2.5)


def test_people_share_the_expressions_out():
    """Of meshes person by person: each plays some, others than the people before, and starts anew when all have been played."""
    subject = np.repeat([0, 1, 2, 3], 6)
    assert [(played_rows(subject, person, 2) - 6 * person).tolist() for person in range(4)] == [[0, 1], [2, 3], [4, 5], [0, 1]]
    assert sorted(played_rows(subject, 1, 9) - 6) == list(range(6))  # no more than she has
