import numpy as np
import pytest

from serep.data.labels import labels_beside
from serep.faces.landmark_ids import LANDMARK_IDS


def mesh(frames=3, points=478):
    return np.arange(frames * points * 2, dtype=float).reshape(frames, points, 2)


def test_nothing_beside_is_no_label(tmp_path):
    assert labels_beside(tmp_path / "clip.mp4", 10) == {}


def test_whole_face_meshes_are_reduced_to_the_project_s_points(tmp_path):
    points = mesh()
    points[1] = np.nan
    np.savez(tmp_path / "clip.landmarks.npz", landmarks=points)
    labels = labels_beside(tmp_path / "clip.mp4", 3)
    assert list(labels) == [0, 2] and len(labels[0].squares) == 0
    np.testing.assert_array_equal(labels[2].landmarks[0], points[2, list(LANDMARK_IDS)])


def test_some_points_by_number_and_several_faces_of_a_picture(tmp_path):
    ids = np.array([*LANDMARK_IDS[:20], 10])
    points = mesh(2, len(ids))
    np.savez(tmp_path / "two.landmarks.npz", landmarks=points, ids=ids)
    found = labels_beside(tmp_path / "two.jpg", None)[0].landmarks
    assert found.shape == (2, len(LANDMARK_IDS), 2)
    np.testing.assert_array_equal(found[:, :20], points[:, :20])
    assert np.isnan(found[:, 20:]).all()
    np.savez(tmp_path / "one.landmarks.npz", landmarks=points[0], ids=ids)
    assert labels_beside(tmp_path / "one.jpg", None)[0].landmarks.shape[0] == 1


def test_boxes_hold_a_square_in_their_lower_half(tmp_path):
    (tmp_path / "clip.boxes.csv").write_text("frame,x0,y0,x1,y1,note\n4,100,50,200,150,a\n4,0,0,20,40,b\n7,1,2,3,4,c\n")
    labels = labels_beside(tmp_path / "clip.mov", 10)
    assert list(labels) == [4, 7]
    np.testing.assert_allclose(labels[4].squares, [[150, 112, 54], [10, 23.6, 16.2]])
    (tmp_path / "photo.boxes.csv").write_text("x0,y0,x1,y1\n100,50,200,150\n")
    assert len(labels_beside(tmp_path / "photo.png", None)[0].squares) == 1


@pytest.mark.parametrize(("arrays", "problem"), [
    ({"points": np.zeros((3, 478, 2))}, "found: absent"),
    ({"landmarks": np.zeros((478, 2))}, r"shape \(frames, points, 2\), found: float64 \(478, 2\)"),
    ({"landmarks": np.zeros((3, 68, 2))}, "'ids' must name the MediaPipe point of each of the 68 landmarks"),
    ({"landmarks": np.zeros((3, 20, 2)), "ids": np.arange(19)}, "each of the 20 landmarks"),
    ({"landmarks": np.full((3, 478, 2), np.nan)}, "gives no face 12 of the points"),
])
def test_landmark_files_that_are_wrong(tmp_path, arrays, problem):
    np.savez(tmp_path / "clip.landmarks.npz", **arrays)
    with pytest.raises(ValueError, match=r"clip.landmarks.npz.*" + problem):
        labels_beside(tmp_path / "clip.mp4", 3)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "clip.landmarks.npz").write_bytes(b"PK no archive")
    with pytest.raises(ValueError, match=r"clip.landmarks.npz cannot be read"):
        labels_beside(tmp_path / "clip.mp4", 3)
    for table in ("x0,y0,x1,y1\n1,2,3,4\n", "frame,x0,y0,x1,y1\n0,5,5,4,4\n", "frame,x0,y0,x1,y1\n0,a,5,4,4\n", "frame,x0,y0,x1,y1\n0,1\n"):
        (tmp_path / "other.boxes.csv").write_text(table)
        with pytest.raises(ValueError, match=r"other.boxes.csv must be a table with the columns frame, x0, y0, x1, y1"):
            labels_beside(tmp_path / "other.mp4", 3)
