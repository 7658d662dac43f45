import numpy as np
import pytest

from serep.benchmark.capture_scores import (
    LID_OPENING,
    MOUTH_OPENING,
    LabelledCodes,
    landmark_errors,
    moving_region,
    opening,
    real_video_scores,
    ridge_regression,
    score_capture,
)
from serep.faces.landmark_ids import LANDMARK_IDS

IDS = np.array(LANDMARK_IDS, np.int32)
OUTER = [int(np.flatnonzero(IDS == one)[0]) for one in (33, 263)]


def pose(codes):
    """10 vertices: the first 6 move by one mm along x per unit of the first number, the last 4 hardly."""
    vertices = np.zeros((len(codes), 10, 3), np.float32)
    vertices[:, :6, 0] = codes[:, :1]
    vertices[:, 6:, 1] = 0.01 * codes[:, 1:2]
    return vertices


@pytest.fixture
def world(rng):
    """Landmarks that tell the first number of the code exactly, whatever place and size they have."""
    def draw(count):
        codes = rng.normal(1.0, 1.0, (count, 2)).astype(np.float32)
        shape = np.tile(rng_shape, (count, 1, 1))
        shape[:, 0, 0] += codes[:, 0]
        return LabelledCodes(codes, (shape * 3.0 + rng.uniform(0, 100, (count, 1, 2))).astype(np.float32))

    rng_shape = rng.normal(0, 8, (len(IDS), 2))
    return draw(200), draw(60)


def test_scores_of_a_perfect_and_of_an_idle_model(world):
    train, test = world
    scores = score_capture(pose, train, test, predicted_codes=test.codes, predicted_landmarks=test.landmarks, landmark_ids=IDS, ridge=1e-6)
    assert scores["ours"] == {"vertex_mm": 0.0, "landmark_px": 0.0, "landmark_pct": 0.0}
    assert scores["neutral"]["vertex_mm"] == pytest.approx(np.abs(test.codes[:, 0]).mean(), rel=1e-5)
    assert scores["mean_expression"]["vertex_mm"] == pytest.approx(np.abs(test.codes[:, 0] - train.codes[:, 0].mean()).mean(), rel=1e-5)
    assert scores["ridge_landmarks"]["vertex_mm"] < 0.15 * scores["mean_expression"]["vertex_mm"]
    assert list(scores) == ["ours", "neutral", "mean_expression", "ridge_landmarks"]


def test_only_the_moving_region_counts(world):
    moving = moving_region(pose, world[1].codes)
    assert moving.tolist() == [True] * 6 + [False] * 4
    with pytest.raises(ValueError, match="no vertex moves by more than 0.3 mm"):
        moving_region(pose, np.full((5, 2), 1e-3, np.float32))


def test_an_empty_test_set_is_refused(world):
    train, test = world
    empty = LabelledCodes(test.codes[:0], test.landmarks[:0])
    with pytest.raises(ValueError, match="got 200 for training and 0 for the test"):
        score_capture(pose, train, empty, predicted_codes=test.codes[:0], predicted_landmarks=test.landmarks[:0], landmark_ids=IDS, ridge=1.0)


def test_ridge_recovers_a_linear_map(rng):
    inputs, weights = rng.normal(size=(300, 4)), rng.normal(size=(4, 2))
    outputs = inputs @ weights + [5.0, -2.0]
    queries = rng.normal(size=(10, 4))
    np.testing.assert_allclose(ridge_regression(inputs, outputs, queries, strength=1e-9), queries @ weights + [5.0, -2.0], atol=1e-6)
    far = ridge_regression(inputs, outputs, queries, strength=1e9)
    np.testing.assert_allclose(far, np.broadcast_to(outputs.mean(axis=0), far.shape), atol=1e-6)


def test_landmark_errors_by_hand():
    reference = np.zeros((2, len(IDS), 2))
    reference[:, OUTER[1], 0] = 50.0
    predicted = reference + np.array([3.0, 4.0])
    assert landmark_errors(predicted, reference, IDS) == pytest.approx((5.0, 10.0))


def test_openings_by_hand():
    points = np.zeros((1, 478, 2))
    points[0, [13, 14]] = [[0, 0], [0, 6]]
    points[0, [61, 291]] = [[-10, 0], [10, 0]]
    points[0, [159, 145]], points[0, [33, 133]] = [[0, 0], [0, 2]], [[0, 0], [10, 0]]
    points[0, [386, 374]], points[0, [362, 263]] = [[0, 0], [0, 4]], [[0, 0], [10, 0]]
    every = np.arange(478, dtype=np.int32)
    assert opening(points, every, MOUTH_OPENING)[0] == pytest.approx(0.3)
    assert opening(points, every, LID_OPENING)[0] == pytest.approx(0.3)
    with pytest.raises(ValueError, match="lack MediaPipe point 13"):
        opening(points[:, :5], np.arange(5, dtype=np.int32), MOUTH_OPENING)


def clip(rng, frames=30):
    """Pseudo landmarks of a face whose mouth and lids open and close."""
    points = np.repeat(rng.uniform(100, 200, (1, 478, 2)), frames, axis=0)
    points[:, 33], points[:, 263] = (100, 120), (180, 120)
    points[:, 14] = points[:, 13] + np.stack([np.zeros(frames), 5 + 4 * np.sin(np.arange(frames))], axis=1)
    for upper, lower in ((159, 145), (386, 374)):
        points[:, lower] = points[:, upper] + np.stack([np.zeros(frames), 3 + 2 * np.cos(np.arange(frames))], axis=1)
    return points


def test_a_capture_that_agrees(rng):
    pseudo = clip(rng)
    mesh = np.concatenate([pseudo[:, IDS], np.zeros((30, len(IDS), 1))], axis=-1)
    scores = real_video_scores(IDS, mesh, pseudo[:, IDS], np.ones(30, bool), pseudo)
    for name in ("mouth_r", "lid_r", "mouth_2d_r", "lid_2d_r", "found_share", "jitter"):
        assert scores[name] == pytest.approx(1.0)
    assert scores["landmark_pct"] == 0.0 and np.isnan(scores["false_share"])


def test_lost_and_invented_faces_are_counted(rng):
    pseudo, found = clip(rng), np.ones(30, bool)
    pseudo[20:] = np.nan
    found[:5] = False
    landmarks = np.nan_to_num(pseudo[:, IDS])
    landmarks[:5] = np.nan
    mesh = np.concatenate([np.nan_to_num(landmarks), np.zeros((30, len(IDS), 1))], axis=-1)
    scores = real_video_scores(IDS, mesh, landmarks, found, pseudo)
    assert scores["found_share"] == pytest.approx(15 / 20) and scores["false_share"] == 1.0
    assert scores["mouth_r"] == pytest.approx(1.0)
    assert "mouth_r" not in real_video_scores(IDS, mesh, landmarks, np.zeros(30, bool), pseudo)


def test_a_mouth_that_does_the_opposite_has_a_negative_score(rng):
    pseudo = clip(rng)
    mesh = np.concatenate([pseudo[:, IDS], np.zeros((30, len(IDS), 1))], axis=-1)
    upper, lower = (int(np.flatnonzero(IDS == one)[0]) for one in (13, 14))
    mesh[:, lower, 1] = mesh[:, upper, 1] + 10 - (mesh[:, lower, 1] - mesh[:, upper, 1])
    assert real_video_scores(IDS, mesh, pseudo[:, IDS], np.ones(30, bool), pseudo)["mouth_r"] == pytest.approx(-1.0)


def test_another_videos_landmarks_are_refused(rng):
    pseudo = clip(rng)
    with pytest.raises(ValueError, match="the capture has 29 frames, the reference landmarks 30"):
        real_video_scores(IDS, np.zeros((29, len(IDS), 3)), np.zeros((29, len(IDS), 2)), np.ones(29, bool), pseudo)
