import numpy as np
import pytest

from serep.benchmark.capture_scores import LID_OPENING, MOUTH_OPENING
from serep.benchmark.domain_scores import real_face_scores

IDS = np.array(sorted({one for pairs in (MOUTH_OPENING, LID_OPENING) for pair in pairs for ends in pair for one in ends} | {33, 263}))


@pytest.fixture
def faces(rng):
    """Flat faces whose mouths and lids open independently of each other."""
    count = 20
    places = rng.uniform(0, 100, (1, len(IDS), 2)).repeat(count, axis=0)
    row = {one: place for place, one in enumerate(IDS.tolist())}
    for lower, upper, amount in ((14, 13, rng.uniform(0, 20, count)), (145, 159, rng.uniform(0, 8, count)), (374, 386, rng.uniform(0, 8, count))):
        places[:, row[lower]] = places[:, row[upper]]
        places[:, row[lower], 1] += amount
    return places


def meshes(places):
    return np.concatenate([places, np.zeros_like(places[..., :1])], axis=-1)


def test_the_truth_scores_perfectly_and_missing_landmarks_do_not_count(faces):
    given = faces.copy()
    given[3, 5] = np.nan
    scores = real_face_scores(IDS, meshes(faces), faces, given)
    assert scores["faces"] == 19 and scores["landmark_pct"] == pytest.approx(0.0) and scores["mouth_r"] == scores["lid_r"] == pytest.approx(1.0)


def test_a_shut_mouth_has_no_correlation_and_lids_keep_theirs(faces, rng):
    row = {one: place for place, one in enumerate(IDS.tolist())}
    seen = faces.copy()
    seen[:, row[14]] = seen[:, row[13]]
    scores = real_face_scores(IDS, meshes(seen), faces + 3.0, faces)
    assert np.isnan(scores["mouth_r"]) and scores["lid_r"] == pytest.approx(1.0) and scores["landmark_pct"] > 1
    shuffled = real_face_scores(IDS, meshes(faces[rng.permutation(len(faces))]), faces, faces)
    assert abs(shuffled["lid_r"]) < 0.8


def test_no_landmarks_give_no_scores(faces):
    assert real_face_scores(IDS, meshes(faces), faces, np.full_like(faces, np.nan)) == {"faces": 0}
    assert real_face_scores(IDS, meshes(faces[:0]), faces[:0], faces[:0]) == {"faces": 0}
    few = real_face_scores(IDS, meshes(faces[:2]), faces[:2], faces[:2])
    assert set(few) == {"faces", "landmark_pct"}
