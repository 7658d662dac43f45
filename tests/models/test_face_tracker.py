import numpy as np
import pytest
import torch

from serep.models import face_tracker
from serep.models.capture_network import CaptureNetwork
from serep.models.engine import TorchEngine
from serep.models.face_boxes import FaceSquare
from serep.models.face_tracker import SWEEP_SIDES, FaceTracker, Sighting, TrackingSettings, sweep_squares

SETTINGS = TrackingSettings(crop_scale=1.5, batch_frames=4, recentre_beyond=0.1, presence_threshold=0.5, patience_frames=3, thorough_every=4)
FRAME = np.zeros((120, 160, 3), np.uint8)


def sighting(x, y, side, presence=0.99, square=None):
    corners = np.array([[x - side / 2, y - side / 2], [x + side / 2, y + side / 2]])
    return Sighting(np.zeros(2, np.float32), corners, square or FaceSquare(np.array([float(x), float(y)]), float(side)), presence)


@pytest.fixture
def tracker():
    torch.manual_seed(0)
    network = CaptureNetwork(encoder="residual_tiny", image_size=32, code_size=2, landmark_count=2, local_width=4, hidden_width=8).eval()
    return FaceTracker(TorchEngine(network), SETTINGS, np.array([13, 14]))


def test_drift_is_the_larger_of_move_and_growth():
    square = FaceSquare(np.array([50.0, 50.0]), 40.0)
    assert sighting(50, 50, 40, square=square).drift() == 0.0
    assert sighting(54, 48, 40, square=square).drift() == pytest.approx(0.1)
    assert sighting(50, 50, 80, square=square).drift() == pytest.approx(np.log(2))
    turned = FaceSquare(square.centre, square.side, np.pi - 0.1)
    assert Sighting.distance(turned, FaceSquare(square.centre, square.side, -np.pi + 0.1)) == pytest.approx(0.1)  # half of 0.2, across the turn


def test_a_face_must_be_seen_and_have_the_size_of_one():
    square = FaceSquare(np.array([50.0, 50.0]), 40.0)
    assert sighting(50, 50, 40, square=square).is_face(0.5)
    assert not sighting(50, 50, 40, presence=0.4, square=square).is_face(0.5)
    assert not sighting(50, 50, 10, square=square).is_face(0.5)
    assert not sighting(50, 50, 90, square=square).is_face(0.5)


def test_looking_again_from_the_middle_of_what_was_seen(tracker, monkeypatch):
    looks = []

    def look(frames, squares):
        looks.append([(square.centre.tolist(), square.side) for square in squares])
        return [sighting(80, 60, 40, square=square) for square in squares]

    monkeypatch.setattr(tracker, "_look", look)
    near, far = FaceSquare(np.array([81.0, 60.0]), 40.0), FaceSquare(np.array([70.0, 60.0]), 100.0)
    seen = tracker._look_closely([FRAME, FRAME], [near, far])
    assert [len(one) for one in looks] == [2, 1, 1]  # the near one is looked at once; the far one shrinks by steps of at most 0.6
    assert looks[1] == [([80.0, 60.0], 60.0)] and looks[2] == [([80.0, 60.0], 40.0)]
    assert seen[0].square is near


@pytest.mark.parametrize(("presence", "moves"), [(0.99, True), (0.6, False)])
def test_a_slide_is_mended_where_cascades_and_network_agree(tracker, monkeypatch, presence, moves):
    tracker._square = FaceSquare(np.array([80.0, 40.0]), 40.0)
    regions = []

    def find_faces_of_side(picture, side):
        regions.append((picture.shape, side))
        return [FaceSquare(np.array([60.0, 80.0]), 40.0)]

    monkeypatch.setattr(face_tracker, "find_faces_of_side", find_faces_of_side)
    monkeypatch.setattr(tracker, "_look_closely", lambda frames, squares: [sighting(80, 40, 40, 0.7), sighting(80, 80, 40, presence)])
    tracker._verify(FRAME)
    assert regions == [((100, 120, 3), 40.0)]  # three squares around the face, cut off at the picture's edge
    assert tracker._square.centre.tolist() == ([80.0, 80.0] if moves else [80.0, 40.0])


def test_cascades_that_agree_or_see_nothing_change_nothing(tracker, monkeypatch):
    tracker._square = FaceSquare(np.array([80.0, 60.0]), 40.0)
    monkeypatch.setattr(tracker, "_look_closely", lambda frames, squares: pytest.fail("no reason to look"))
    for found in ([], [FaceSquare(np.array([62.0, 61.0]), 42.0)]):
        monkeypatch.setattr(face_tracker, "find_faces_of_side", lambda picture, side, found=found: found)
        tracker._verify(FRAME)
        assert tracker._square.centre.tolist() == [80.0, 60.0]


@pytest.mark.parametrize(("others", "count"), [([(30, 60, 20), (130, 60, 50)], 3), ([(81, 61, 39)], 1)])
def test_the_largest_of_several_faces_is_followed_and_that_is_said(tracker, monkeypatch, caplog, others, count):
    squares = [FaceSquare(np.array([float(x), float(y)]), float(side)) for x, y, side in [(80, 60, 40), *others]]
    monkeypatch.setattr(face_tracker, "find_faces", lambda picture, *, thorough: squares)
    monkeypatch.setattr(tracker, "_look", lambda frames, squares: [sighting(*square.centre, square.side, square=square) for square in squares])
    tracker.follow([FRAME, FRAME])
    assert tracker._square.side == max(square.side for square in squares) and tracker.most_faces == count
    assert [record.message for record in caplog.records] == ([f"frame 0 shows {count} faces: the largest is captured. "
                                                              "Cut the others off if it is not the one"] if count > 1 else [])


@pytest.mark.parametrize(("height", "width"), [(256, 256), (720, 1280), (1280, 720)])
def test_a_sweep_leaves_out_no_place(height, width):
    squares = sweep_squares(height, width)
    assert len(squares) < 100
    for share in SWEEP_SIDES:
        side = share * min(height, width)
        centres = np.array([square.centre for square in squares if square.side == side])
        y, x = np.mgrid[0.5 * side:height - 0.5 * side:16j, 0.5 * side:width - 0.5 * side:16j]
        away = np.abs(np.stack([x, y], axis=-1).reshape(-1, 1, 2) - centres).max(axis=2).min(axis=1)
        assert away.max() <= 0.301 * side


@pytest.mark.parametrize(("reach", "found"), [(24, True), (9, False)])  # px from the face within which a square sees it: several do, or one alone
def test_faces_that_no_cascade_knows_are_found_by_the_network_every_so_often(tracker, monkeypatch, reach, found):
    looks = []

    def look(frames, squares):
        looks.append(len(squares))
        return [sighting(90, 70, 40, presence=0.97 if np.abs(square.centre - [90, 70]).max() < reach and square.side < 45 else 0.1, square=square)
                for square in squares]

    monkeypatch.setattr(face_tracker, "find_faces", lambda picture, *, thorough: [])
    monkeypatch.setattr(tracker, "_look", look)
    tracker._lost = 1
    assert tracker.follow([FRAME, FRAME, FRAME]) == [None] * 3 and not looks  # not in every frame
    seen = tracker.follow([FRAME])
    assert sum(looks) >= len(sweep_squares(*FRAME.shape[:2]))
    assert [one.face.centre.tolist() for one in seen if one is not None] == ([[90.0, 70.0]] if found else [])
