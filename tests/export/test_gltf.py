import json
import struct

import numpy as np
import pytest
import trimesh

from serep.export.gltf import even_reach, viewer_motion, write_glb
from serep.geometry import Mesh

TYPES = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}


def read(path):
    """(document, arrays of all accessors), every rule of the container checked."""
    content = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", content)
    assert (magic, version, length) == (b"glTF", 2, len(content))
    text_length, kind = struct.unpack_from("<II", content, 12)
    assert kind == 0x4E4F534A and text_length % 4 == 0
    document = json.loads(content[20 : 20 + text_length])
    binary_length, kind = struct.unpack_from("<II", content, 20 + text_length)
    binary = content[28 + text_length :]
    assert kind == 0x004E4942 and binary_length == len(binary) == document["buffers"][0]["byteLength"] and len(binary) % 4 == 0
    arrays = []
    for accessor in document["accessors"]:
        view = document["bufferViews"][accessor["bufferView"]]
        dtype = np.dtype({5125: "<u4", 5126: "<f4"}[accessor["componentType"]])
        width = TYPES[accessor["type"]]
        assert view["byteOffset"] % 4 == 0 and view["byteLength"] == accessor["count"] * width * 4
        assert view["byteOffset"] + view["byteLength"] <= len(binary)
        array = np.frombuffer(binary, dtype, accessor["count"] * width, view["byteOffset"]).reshape(-1, width)
        assert np.array_equal(array.min(axis=0), np.array(accessor["min"], dtype))
        assert np.array_equal(array.max(axis=0), np.array(accessor["max"], dtype))
        arrays.append(array)
    return document, arrays


@pytest.fixture
def face(rng):
    """A wavy patch of 30 vertices, three morph targets and five frames of weights."""
    x, y = np.meshgrid(np.arange(6.0), np.arange(5.0))
    vertices = 20 * np.stack([x, y, 0.3 * np.sin(x + y)], axis=-1).reshape(-1, 3)
    corner = (np.arange(4)[:, None] * 6 + np.arange(5)).ravel()
    faces = np.concatenate([np.stack([corner, corner + 1, corner + 7], axis=1), np.stack([corner, corner + 7, corner + 6], axis=1)])
    targets = rng.standard_normal((3, 30, 3)).astype(np.float32)
    return Mesh(vertices, faces), targets, rng.uniform(-1, 1, (5, 3)).astype(np.float32)


def pose(rotation=None, translation=(0, 0, 600)):
    motion = np.eye(4)
    motion[:3, :3] = np.diag([1, -1, -1]) @ (np.eye(3) if rotation is None else rotation)
    motion[:3, 3] = translation
    return motion


def test_morph_targets_times_weights_are_the_vertices(face, tmp_path):
    neutral, targets, weights = face
    path = tmp_path / "new" / "face.glb"
    write_glb(path, neutral, morph_targets=targets, names=["a", "b", "c"], weights=weights, fps=25.0)
    document, arrays = read(path)
    primitive = document["meshes"][0]["primitives"][0]
    assert np.array_equal(arrays[primitive["indices"]].reshape(-1, 3), neutral.faces)
    positions = arrays[primitive["attributes"]["POSITION"]]
    stored = np.stack([arrays[target["POSITION"]] for target in primitive["targets"]])
    animation = document["animations"][0]
    sampler = animation["samplers"][animation["channels"][0]["sampler"]]
    assert animation["channels"][0]["target"] == {"node": 0, "path": "weights"} and sampler["interpolation"] == "LINEAR"
    assert np.allclose(arrays[sampler["input"]].ravel(), np.arange(5) / 25)
    moved = positions + np.einsum("tk,kva->tva", arrays[sampler["output"]].reshape(5, 3), stored)
    np.testing.assert_allclose(1000 * moved, neutral.vertices + np.einsum("tk,kva->tva", weights, targets), rtol=1e-6, atol=2e-5)
    assert document["meshes"][0]["extras"]["targetNames"] == ["a", "b", "c"]
    assert np.allclose(document["meshes"][0]["weights"], weights[0])
    assert not list(path.parent.glob("*.partial"))


def test_normals_are_unit_and_follow_the_targets(face, tmp_path):
    from serep.geometry import vertex_normals

    neutral, targets, weights = face
    write_glb(tmp_path / "face.glb", neutral, morph_targets=targets, names=["a", "b", "c"], weights=weights, fps=25.0)
    document, arrays = read(tmp_path / "face.glb")
    primitive = document["meshes"][0]["primitives"][0]
    normals = arrays[primitive["attributes"]["NORMAL"]]
    assert np.allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)
    moved = normals + 0.2 * arrays[primitive["targets"][1]["NORMAL"]]
    true = vertex_normals(neutral.vertices + 0.2 * targets[1], neutral.faces)
    assert np.abs(moved - true).max() < 0.1 * np.abs(normals - true).max()


def test_another_reader_finds_the_mesh_and_colours(face, tmp_path):
    neutral, targets, weights = face
    colours = np.linspace(0, 1, 90).reshape(30, 3)
    write_glb(tmp_path / "face.glb", neutral, morph_targets=targets, names=["a", "b", "c"], weights=weights, fps=25.0, colours=colours)
    scene = trimesh.load(tmp_path / "face.glb", process=False)
    (mesh,) = scene.geometry.values()
    assert np.allclose(mesh.vertices, neutral.vertices / 1000) and np.array_equal(mesh.faces, neutral.faces)
    document, arrays = read(tmp_path / "face.glb")
    assert np.allclose(arrays[document["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]], colours)


def test_head_motion_is_seen_as_the_camera_saw_it(face, tmp_path):
    """A nod by 20 degrees and 30 mm to the image's right, 10 mm down and 50 mm away, with frames without a face."""
    neutral, targets, weights = face
    cosine, sine = np.cos(np.radians(20)), np.sin(np.radians(20))
    nod = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    lost = np.full((4, 4), np.nan)
    poses = np.stack([lost, pose(), lost, pose(nod, (30, 10, 650)), lost])
    write_glb(tmp_path / "face.glb", neutral, morph_targets=targets, names=["a", "b", "c"], weights=weights, fps=25.0, head_pose=poses)
    document, arrays = read(tmp_path / "face.glb")
    animation = document["animations"][0]
    outputs = {channel["target"]["path"]: arrays[animation["samplers"][channel["sampler"]]["output"]] for channel in animation["channels"]}
    expected = np.array([0.03, -0.01, -0.05])
    np.testing.assert_allclose(outputs["translation"], [[0, 0, 0]] * 2 + [expected] * 2, atol=1e-7)
    half = np.radians(10)
    np.testing.assert_allclose(outputs["rotation"], [[0, 0, 0, 1]] * 2 + [[np.sin(half), 0, 0, np.cos(half)]] * 2, atol=1e-7)
    times = {channel["target"]["path"]: arrays[animation["samplers"][channel["sampler"]]["input"]].ravel() for channel in animation["channels"]}
    np.testing.assert_allclose(times["rotation"], np.array([0, 1, 3, 4]) / 25)  # both ends, and the frames that have a pose


def test_frames_without_weights_get_no_key(face, tmp_path):
    neutral, targets, weights = face
    weights[[0, 2]] = np.nan
    write_glb(tmp_path / "face.glb", neutral, morph_targets=targets, names=["a", "b", "c"], weights=weights, fps=10.0)
    document, arrays = read(tmp_path / "face.glb")
    sampler = document["animations"][0]["samplers"][0]
    np.testing.assert_allclose(arrays[sampler["input"]].ravel(), [0, 0.1, 0.3, 0.4])
    assert np.array_equal(arrays[sampler["output"]].reshape(4, 3), weights[[1, 1, 3, 4]])
    assert np.allclose(document["meshes"][0]["weights"], weights[1])


def test_quaternions_do_not_jump(rng):
    """A head that turns round once and a half about a slanted axis."""
    from scipy.spatial.transform import Rotation

    axis = np.array([0.3, 0.9, 0.2]) / np.linalg.norm([0.3, 0.9, 0.2])
    rotations = Rotation.from_rotvec(np.linspace(0, 3 * np.pi, 60)[:, None] * axis)
    _, quaternions = viewer_motion(np.stack([pose(rotation) for rotation in rotations.as_matrix()]))
    assert (np.einsum("ti,ti->t", quaternions[1:], quaternions[:-1]) > 0.99).all()
    np.testing.assert_allclose(Rotation.from_quat(quaternions).as_matrix(), rotations.as_matrix(), atol=1e-12)


def test_even_reach_keeps_the_motion(face):
    _, targets, weights = face
    targets[1] *= 300
    targets[2] = 0
    basis, scaled = even_reach(targets, weights)
    np.testing.assert_allclose(np.einsum("tk,kva->tva", scaled, basis), np.einsum("tk,kva->tva", weights, targets), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(basis, axis=-1).max(axis=-1), [10, 10, 0], rtol=1e-6)


def test_still_face_without_targets(face, tmp_path):
    neutral, targets, weights = face
    lost = np.full((5, 4, 4), np.nan)
    write_glb(tmp_path / "face.glb", neutral, morph_targets=targets[:0], names=[], weights=weights[:, :0], fps=25.0, head_pose=lost)
    document, _ = read(tmp_path / "face.glb")
    assert "animations" not in document and "targets" not in document["meshes"][0]["primitives"][0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"names": ["a", "b"]}, "as many different names"),
        ({"names": ["a", "b", "b"]}, "2 of them different"),
        ({"weights": np.zeros((5, 2), np.float32)}, r"\(T, 3\)"),
        ({"weights": np.zeros((0, 3), np.float32)}, "at least one frame"),
        ({"weights": np.full((5, 3), np.nan, np.float32)}, "no frame has finite weights"),
        ({"morph_targets": np.zeros((3, 29, 3), np.float32)}, "30 vertices"),
        ({"morph_targets": np.full((3, 30, 3), np.inf, np.float32)}, "morph targets must be finite"),
        ({"fps": 0.0}, "fps"),
        ({"head_pose": np.zeros((4, 4, 4))}, "one pose for each frame"),
        ({"colours": np.full((30, 3), 2.0)}, "0..1"),
    ],
)
def test_refusals_leave_no_file(face, tmp_path, monkeypatch, change, words):
    import jaxtyping

    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    neutral, targets, weights = face
    arguments = {"morph_targets": targets, "names": ["a", "b", "c"], "weights": weights, "fps": 25.0} | change
    with pytest.raises(ValueError, match=words):
        write_glb(tmp_path / "face.glb", neutral, **arguments)
    assert not list(tmp_path.iterdir())
