"""A topology survives storage, and refuses what does not fit."""
from dataclasses import replace

import numpy as np
import pytest

from serep.faces import LANDMARK_IDS, FaceTopology
from serep.faces.landmark_ids import LEFT_EYE_IDS, OUTER_LIP_IDS, RIGHT_EYE_IDS, mirrored_ids


def test_storage_round_trip(topology, tmp_path):
    np.savez(tmp_path / "topology.npz", **topology.to_arrays())
    with np.load(tmp_path / "topology.npz", allow_pickle=False) as arrays:
        again = FaceTopology.from_arrays(dict(arrays))
    assert again.name == topology.name and again.part_names == topology.part_names and list(again.regions) == list(topology.regions)
    for name, array in topology.to_arrays().items():
        assert np.array_equal(again.to_arrays()[name], array), name
    assert again.same_faces(topology)
    bare = FaceTopology.from_arrays(replace(topology, mirror=None).to_arrays())
    assert bare.mirror is None


def test_storage_that_lacks_something_is_refused(topology):
    arrays = topology.to_arrays()
    del arrays["landmark_ids"]
    with pytest.raises(ValueError, match="landmark_ids"):
        FaceTopology.from_arrays(arrays)


def test_landmarks_are_barycentric_and_batched(topology, rng):
    batch = topology.template + rng.normal(size=(2, 3, len(topology.template), 3))
    marks = topology.landmarks(batch)
    assert marks.shape == (2, 3, len(LANDMARK_IDS), 3)
    one = (batch[1, 2][topology.landmark_triangles[5]] * topology.landmark_barycentric[5][:, None]).sum(axis=0)
    assert np.allclose(marks[1, 2, 5], one, atol=1e-12)
    assert np.allclose(topology.landmark_barycentric.sum(axis=1), 1, atol=1e-6) and (topology.landmark_barycentric >= 0).all()


def test_common_landmarks(topology):
    assert topology.landmark_ids.tolist() == sorted(LANDMARK_IDS) and {13, 14, 61, 291, 159, 145, 33, 133, 386, 374, 362, 263} <= set(LANDMARK_IDS)
    assert topology.landmark_ids[topology.landmark_rows((13, 61))].tolist() == [13, 61]
    with pytest.raises(KeyError, match="468"):
        topology.landmark_rows((468,))


def test_mirrored_ids_swap_sides():
    ids = np.array(LANDMARK_IDS)
    assert np.array_equal(mirrored_ids(mirrored_ids(ids)), ids)
    assert np.array_equal(mirrored_ids(np.array(RIGHT_EYE_IDS)), LEFT_EYE_IDS)
    assert mirrored_ids(np.array([61, 13, 17, OUTER_LIP_IDS[1]])).tolist() == [291, 13, 17, OUTER_LIP_IDS[9]]


def test_wrong_arrays_are_refused(topology):
    with pytest.raises(ValueError, match="vertices"):
        topology.mesh(topology.template[:-1])
    with pytest.raises(ValueError, match="faces names"):
        replace(topology, faces=topology.faces + 10)
    with pytest.raises(ValueError, match="ascend"):
        replace(topology, landmark_ids=topology.landmark_ids[::-1])
