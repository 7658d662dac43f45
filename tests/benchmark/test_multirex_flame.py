"""FLAME on a given neutral: known motions on a small model of the same build, read from .npz and from a pickle with chumpy's classes."""
import pickle
import sys
import types

import numpy as np
import pytest
import scipy.sparse
from scipy.spatial.transform import Rotation

from serep.benchmark.multirex_flame import JAW, read_flame, read_flame_parameters

VERTICES, EXPRESSIONS = 30, 4
PARENTS = [2**32 - 1, 0, 1, 1, 1]  # as the file has it: the root's parent is -1 in 32 bits


@pytest.fixture
def arrays(rng):
    weights = rng.random((VERTICES, 5))
    return {
        "shapedirs": rng.standard_normal((VERTICES, 3, 300 + EXPRESSIONS)), "posedirs": 0.01 * rng.standard_normal((VERTICES, 3, 36)),
        "J_regressor": rng.dirichlet(np.ones(VERTICES), size=5), "kintree_table": np.array([PARENTS, range(5)], dtype=np.uint32),
        "weights": weights / weights.sum(axis=1, keepdims=True),
    }  # fmt: skip


@pytest.fixture
def model(arrays, tmp_path):
    np.savez(tmp_path / "flame.npz", **arrays)
    return read_flame(tmp_path / "flame.npz")


def skinned(arrays, neutral, expression, jaw):
    """One frame by the whole of linear blend skinning: five joints, a chain of transforms, blended matrices."""
    shaped = neutral + arrays["shapedirs"][..., 300 : 300 + len(expression)] @ expression
    joints = arrays["J_regressor"] @ shaped
    rotations = np.tile(np.eye(3), (5, 1, 1))
    rotations[JAW] = Rotation.from_rotvec(jaw).as_matrix()
    posed = shaped + arrays["posedirs"] @ (rotations[1:] - np.eye(3)).ravel()
    world = []
    for joint in range(5):
        local = np.eye(4)
        local[:3, :3] = rotations[joint]
        local[:3, 3] = joints[joint] - (joints[PARENTS[joint]] if joint else 0)
        world.append(local if joint == 0 else world[PARENTS[joint]] @ local)
    relative = [matrix.copy() for matrix in world]
    for joint, matrix in enumerate(relative):
        matrix[:3, 3] -= matrix[:3, :3] @ joints[joint]
    blended = np.einsum("vj,jab->vab", arrays["weights"], relative)
    return np.einsum("vab,vb->va", blended, np.concatenate([posed, np.ones((VERTICES, 1))], axis=1))[:, :3]


def test_decoding_is_linear_blend_skinning(arrays, model, rng):
    neutral, expressions, jaw = rng.standard_normal((VERTICES, 3)), rng.standard_normal((6, EXPRESSIONS)), 0.4 * rng.standard_normal((6, 3))
    decoded = model.decode(neutral, expressions, jaw)
    expected = np.stack([skinned(arrays, neutral, *frame) for frame in zip(expressions, jaw, strict=True)])
    np.testing.assert_allclose(decoded, expected, atol=1e-12)
    few = model.decode(neutral, expressions[:, :2], jaw)
    np.testing.assert_allclose(few, np.stack([skinned(arrays, neutral, *frame) for frame in zip(expressions[:, :2], jaw, strict=True)]), atol=1e-12)
    np.testing.assert_allclose(model.decode(neutral, np.zeros((1, 1)), np.zeros((1, 3)))[0], neutral, atol=1e-12)


def test_eyelids_are_added_last(arrays, tmp_path, rng):
    lids = rng.standard_normal((2, VERTICES, 3))
    np.savez(tmp_path / "flame.npz", **arrays)
    np.save(tmp_path / "l_eyelid.npy", lids[0])
    np.save(tmp_path / "r_eyelid.npy", lids[1][None])
    model, neutral = read_flame(tmp_path / "flame.npz"), rng.standard_normal((VERTICES, 3))
    still = np.zeros((1, 1)), np.zeros((1, 3))
    np.testing.assert_allclose(model.decode(neutral, *still, np.array([[0.5, 2.0]]))[0], neutral + 0.5 * lids[0] + 2 * lids[1], atol=1e-12)


def test_the_distributed_pickle_is_read_without_chumpy(arrays, model, tmp_path, monkeypatch):
    """Written as FLAME's is: protocol 2, chumpy arrays, a sparse regressor."""
    module = types.ModuleType("chumpy.ch")

    class Ch:
        def __init__(self, x):
            self.x = x

    Ch.__module__, Ch.__qualname__, module.Ch = "chumpy.ch", "Ch", Ch
    with monkeypatch.context() as with_chumpy:
        with_chumpy.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
        with_chumpy.setitem(sys.modules, "chumpy.ch", module)
        content = arrays | {"shapedirs": Ch(arrays["shapedirs"]), "J_regressor": scipy.sparse.csc_matrix(arrays["J_regressor"]), "bs_style": "lbs"}
        (tmp_path / "generic_model.pkl").write_bytes(pickle.dumps(content, 2))
    assert "chumpy" not in sys.modules
    read = read_flame(tmp_path / "generic_model.pkl")
    for name in ("expression_modes", "pose_modes", "jaw_regressor", "jaw_weights"):
        np.testing.assert_array_equal(getattr(read, name), getattr(model, name))


def test_what_is_no_flame_is_refused(arrays, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no FLAME model at .*: get generic_model\.pkl from flame\.is\.tue\.mpg\.de"):
        read_flame(tmp_path / "none.pkl")
    np.savez(tmp_path / "a.npz", **{name: value for name, value in arrays.items() if name != "weights"})
    with pytest.raises(ValueError, match=r"a\.npz is no FLAME model: it lacks weights"):
        read_flame(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", **(arrays | {"shapedirs": arrays["shapedirs"][..., :10]}))
    with pytest.raises(ValueError, match=r"shapedirs \(30, 3, 10\).* are not FLAME's"):
        read_flame(tmp_path / "a.npz")


def test_parameters_of_a_video(model, tmp_path, rng):
    path, expressions, poses = tmp_path / "video.npz", rng.standard_normal((5, 3)), rng.standard_normal((5, 6))
    np.savez(path, expressions=expressions[None], poses=poses)
    read = read_flame_parameters(path, model)
    np.testing.assert_array_equal(read.expressions, expressions)
    np.testing.assert_array_equal(read.jaw, poses[:, 3:])
    (tmp_path / "video.pkl").write_bytes(pickle.dumps({"expressions": expressions, "poses": poses, "eyelids": None}))
    np.testing.assert_array_equal(read_flame_parameters(tmp_path / "video.pkl", model).expressions, expressions)
    for change, text in (
        ({"poses": poses[:4]}, r"has expressions \(5, 3\), poses \(4, 6\): needs expressions \(T, K\)"),
        ({"expressions": np.zeros((5, 9))}, r"has 9 expression weights, .*flame\.npz has 4 modes"),
        ({"eyelids": np.zeros((5, 2))}, r"has eyelids: put l_eyelid\.npy and r_eyelid\.npy beside"),
        ({"poses": np.where(np.arange(30).reshape(5, 6) == 13, np.nan, poses)}, r"poses has NaN or infinite values \(first: frame 2\)"),
    ):
        np.savez(path, **({"expressions": expressions, "poses": poses} | change))
        with pytest.raises(ValueError, match=text) as refusal:
            read_flame_parameters(path, model)
        assert str(path) in str(refusal.value)
