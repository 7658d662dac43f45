"""ICT-FaceKit's heads: published OBJs and the compact file say the same; what is missing is named."""
import shutil

import numpy as np
import pytest

from serep.faces import LANDMARK_IDS, open_head_model
from serep.faces.ict import FACE_VERTICES, is_ict_face, packed_landmarks
from serep.geometry import mesh_problems


@pytest.fixture(scope="module")
def compact(shared_data):
    return open_head_model("ict", shared_data / "ict")


def test_compact_file(compact):
    assert compact.topology.template.shape == (FACE_VERTICES, 3) and compact.identity_modes.shape == (100, FACE_VERTICES, 3)
    assert len(compact.expression_names) == 53 and {"eyeBlink_L", "jawOpen", "browInnerUp_R"} <= set(compact.expression_names)
    assert compact.licence.startswith("MIT")
    assert 200 < np.ptp(compact.topology.template[:, 1]) < 350  # mm, not cm
    assert mesh_problems(compact.topology.mesh(compact.topology.template)) == []
    assert compact.topology.landmark_ids.tolist() == sorted(LANDMARK_IDS)
    assert is_ict_face(FACE_VERTICES, compact.topology.faces) and not is_ict_face(FACE_VERTICES, compact.topology.faces[::-1])


def test_sample_objs_agree_with_the_compact_file(compact, shared_data):
    sample = open_head_model("ict", shared_data / "ict", partial=True)
    assert np.array_equal(sample.topology.faces, compact.topology.faces)
    assert np.abs(sample.topology.template - compact.topology.template).max() < 1e-3
    assert 0 < len(sample.expression_names) < 53 and len(sample.identity_modes) < 100
    assert np.abs(sample.identity_modes - compact.identity_modes[: len(sample.identity_modes)]).max() < 2e-3
    for name, unit in zip(sample.expression_names, sample.expression_units, strict=True):
        assert np.abs(unit - compact.expression_units[compact.expression_names.index(name)]).max() < 2e-3, name


def test_units_mean_what_they_say(compact):
    names, topology = compact.expression_names, compact.topology
    weights = np.stack([np.array(names) == name for name in ("eyeBlink_L", "jawOpen")]).astype(float)
    for person in range(2):
        neutral = compact.draw_neutral(rng=np.random.default_rng(person))
        marks = topology.landmarks(np.stack([neutral, *compact.expressive(neutral, weights)]))
        pairs = (386, 374), (159, 145), (13, 14)
        gap = {pair: np.linalg.norm(np.diff(marks[:, topology.landmark_rows(pair)], axis=1), axis=-1)[:, 0] for pair in pairs}
        assert gap[386, 374][1] < 0.65 * gap[386, 374][0] and gap[159, 145][1] == pytest.approx(gap[159, 145][0], abs=0.5)
        assert gap[13, 14][2] > gap[13, 14][0] + 20


def test_incomplete_checkout_is_refused_by_name(shared_data, tmp_path):
    shutil.copytree(shared_data / "ict" / "FaceXModel", tmp_path / "FaceXModel")
    with pytest.raises(ValueError, match=r"browDown_R\.obj.*mouthClose\.obj"):
        open_head_model("ict", tmp_path)
    (tmp_path / "FaceXModel" / "vertex_indices.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"vertex_indices\.json"):
        open_head_model("ict", tmp_path)


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="ICT-FaceKit"):
        open_head_model("ict", tmp_path)
    np.savez(tmp_path / "ict_face.npz", vertices=np.zeros((3, 3)))
    with pytest.raises(ValueError, match="identity_q"):
        open_head_model("ict", tmp_path)


def test_packed_landmarks_hold_no_shape():
    marks, paint = packed_landmarks()
    assert sorted(marks) == ["barycentric", "ids", "triangles"] and marks["ids"].tolist() == sorted(LANDMARK_IDS) and len(paint["ids"]) == 20
    assert marks["triangles"].max() < FACE_VERTICES and np.allclose(marks["barycentric"].sum(axis=1), 1, atol=1e-6)


def test_choices(shared_data, compact):
    assert compact.populations == ("all",) and compact.shares_frame
    with pytest.raises(ValueError, match="train_population is 'african', but the heads of ict have only all"):
        open_head_model("ict", shared_data / "ict", train_population="african")
    with pytest.raises(ValueError, match="expression_transfer is 'sculpted', but the heads of ict offer only deformation, cloning"):
        open_head_model("ict", shared_data / "ict", expression_transfer="sculpted")
    cloned = open_head_model("ict", shared_data / "ict", expression_transfer="cloning")
    neutral = cloned.draw_neutral(rng=np.random.default_rng(1))
    weights = np.stack([np.array(cloned.expression_names) == name for name in ("jawOpen", "mouthSmile_L")]).astype(float)
    one, other = (model.expressive(neutral, weights) - neutral for model in (cloned, compact))
    assert 0.1 < np.linalg.norm(one - other, axis=-1).mean() < 0.3 * np.linalg.norm(other, axis=-1).mean()
