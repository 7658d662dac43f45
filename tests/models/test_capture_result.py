import numpy as np
import pytest

from serep.models.capture_result import LAYOUT, CaptureResult


def result(frames=4, rng=None):
    rng = rng or np.random.default_rng(0)
    return CaptureResult(
        codes=rng.random((frames, 3), np.float32), vertices=rng.random((frames, 6, 3), np.float32), head_pose=rng.random((frames, 4, 4), np.float32),
        landmark_ids=np.array([13, 14], np.int32), landmarks=rng.random((frames, 2, 2), np.float32),
        mesh_landmarks=rng.random((frames, 2, 3), np.float32), boxes=rng.random((frames, 4), np.float32), found=np.arange(frames) > 0, fps=29.97,
    )


def test_file_keeps_every_field(tmp_path):
    one = result()
    one.save(tmp_path / "clip.npz")
    back = CaptureResult.load(tmp_path / "clip.npz")
    for name in LAYOUT:
        np.testing.assert_array_equal(getattr(back, name), getattr(one, name))
    assert isinstance(back.fps, float)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.npz"]
    before = (tmp_path / "clip.npz").read_bytes()
    back.save(tmp_path / "clip.npz")
    assert (tmp_path / "clip.npz").read_bytes() == before


def test_other_programs_find_what_they_were_promised(tmp_path):
    """The names, shapes and types of the file are a contract: changing one breaks programs that read it with NumPy alone."""
    result(5).save(tmp_path / "clip.npz")
    with np.load(tmp_path / "clip.npz", allow_pickle=False) as archive:
        found = {name: (archive[name].shape, str(archive[name].dtype)) for name in archive.files}
    assert found == {
        "codes": ((5, 3), "float32"), "vertices": ((5, 6, 3), "float32"), "head_pose": ((5, 4, 4), "float32"), "landmark_ids": ((2,), "int32"),
        "landmarks": ((5, 2, 2), "float32"), "mesh_landmarks": ((5, 2, 3), "float32"), "boxes": ((5, 4), "float32"), "found": ((5,), "bool"),
        "fps": ((), "float64"),
    }


def test_pieces_join(rng):
    first, second = result(4, rng), result(3, rng)
    joined = CaptureResult.join([first, second])
    assert joined.codes.shape == (7, 3) and joined.found.sum() == 5
    np.testing.assert_array_equal(joined.landmarks[4:], second.landmarks)
    np.testing.assert_array_equal(joined.landmark_ids, first.landmark_ids)
    with pytest.raises(ValueError, match="no capture to join"):
        CaptureResult.join([])


def damaged(tmp_path, **changes):
    path = tmp_path / "bad.npz"
    result().save(path)
    with np.load(path) as archive:
        arrays = dict(archive) | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_load_names_file_and_field(tmp_path):
    with pytest.raises(FileNotFoundError, match="no capture at .*gone.npz"):
        CaptureResult.load(tmp_path / "gone.npz")
    with pytest.raises(ValueError, match=r"bad.npz is not a capture: fields missing \['codes'\], unknown \['code'\]"):
        CaptureResult.load(damaged(tmp_path, codes=None, code=np.zeros(3)))
    with pytest.raises(ValueError, match=r"'found' is bool \(3,\), not bool \(T = 4\)"):
        CaptureResult.load(damaged(tmp_path, found=np.ones(3, bool)))
    with pytest.raises(ValueError, match=r"'vertices' is float64"):
        CaptureResult.load(damaged(tmp_path, vertices=np.zeros((4, 6, 3))))
    (tmp_path / "text.npz").write_text("not an archive")
    with pytest.raises(ValueError, match="text.npz cannot be read"):
        CaptureResult.load(tmp_path / "text.npz")
