"""The model's head on meshes that nobody prepared for it, and the meshes that are refused."""
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from serep.geometry import Mesh
from serep.geometry.remesh import cropped, permuted, remeshed
from serep.models.registration import bind_any, encode_any, register
from serep.models.semantic import DisplacementPca


@pytest.fixture(scope="module")
def model(topology):
    """One mode: the mouth's surroundings move out, 1 mm where they move most."""
    model = DisplacementPca(topology, code_size=1)
    lips = topology.template[topology.regions["lips"] > 0.5].mean(axis=0)
    mode = np.zeros_like(topology.template)
    mode[:, 2] = np.exp(-((topology.template - lips) ** 2).sum(axis=1) / 25**2)
    length = np.linalg.norm(mode)
    model.modes[:] = torch.from_numpy((mode / length).reshape(1, -1))
    model.decoder.matrix[:] = float(length)
    return model.eval()


@pytest.fixture(scope="module")
def head(topology):
    return topology.mesh(topology.template)


def test_the_models_own_topology_is_taken_as_it_is(model, head):
    registration = register(model, head)
    assert registration.samples is None and registration.error == {}
    np.testing.assert_array_equal(registration.model_neutral.vertices, head.vertices)
    codes = np.array([[3.0]], np.float32)
    np.testing.assert_array_equal(bind_any(model, registration).pose(codes), model.bind(head).pose(codes))


def test_a_turned_head_of_the_own_topology_is_laid_into_the_frame_and_posed_where_it_stands(model, head):
    turn, shift = Rotation.from_euler("yx", [14, -8], degrees=True).as_matrix(), np.array([5.0, 900.0, -3.0])
    registration = register(model, head.with_vertices(head.vertices @ turn.T + shift))
    np.testing.assert_allclose(registration.model_neutral.vertices, head.vertices, atol=1e-6)
    straight = model.bind(head).pose(np.array([[4.0]], np.float32))[0]
    posed = bind_any(model, registration).pose(np.array([[4.0]], np.float32))
    np.testing.assert_allclose(posed[0], straight @ turn.T + shift, atol=1e-3)
    np.testing.assert_allclose(encode_any(model, registration, posed.astype(np.float64)), [[4.0]], atol=1e-3)


@pytest.mark.parametrize("kind", ["remeshed", "mask"])
def test_another_topology_is_encoded_and_driven(model, head, topology, kind):
    rng = np.random.default_rng(1)
    if kind == "remeshed":
        mesh, carry = remeshed(head, 6000, rng=rng)
    else:
        mask, crop = cropped(head, np.asarray(topology.regions["face"] > 0))
        mesh, order = permuted(mask, rng=rng)
        carry = order @ crop
    registration = register(model, mesh)
    assert registration.error["covered"] > 0.95 and registration.error["mean_mm"] < 0.3
    true = model.bind(head).pose(np.array([[6.0], [-4.0]], np.float32)).astype(np.float64)
    meshes = np.stack([carry @ one for one in true])
    np.testing.assert_allclose(encode_any(model, registration, meshes), [[6.0], [-4.0]], atol=0.4)
    np.testing.assert_allclose(encode_any(model, registration, mesh.vertices[None]), [[0.0]], atol=1e-6)
    rig = bind_any(model, registration)
    np.testing.assert_array_equal(rig.neutral.faces, mesh.faces)
    error = np.linalg.norm(rig.pose(np.array([[6.0], [-4.0]], np.float32)) - meshes, axis=-1)
    moved = np.linalg.norm(meshes - mesh.vertices, axis=-1)
    assert error[moved > 1].mean() < 0.06 * moved[moved > 1].mean()


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda head: Mesh(head.vertices / 1000, head.faces[:, [1, 2, 0]][::-1]), "it is probably in m: read it with unit='m'"),
    (lambda head: Mesh(np.where(np.arange(len(head.vertices))[:, None] == 7, np.nan, head.vertices), head.faces), "NaN or infinite positions .first: vertex 7"),
    (lambda head: Mesh(head.vertices, head.faces[:0]), "but no faces"),
    (lambda head: Mesh(head.vertices, head.faces[::-1, ::-1]), "faces look inwards"),
    (lambda head: Mesh(head.vertices @ np.diag([-1.0, -1.0, 1.0]), head.faces[::-1]), "read it so|no upright face"),
    (lambda head: Mesh(head.vertices, np.delete(head.faces, np.flatnonzero(
        np.linalg.norm(head.vertices[head.faces].mean(axis=1) - [0, -25, 110], axis=1) < 38), axis=0)), "covers only|does not look like"),
    (lambda head: Mesh(head.vertices * [1, 1, 0.25], head.faces[::-1]), "no upright face|does not look like|times as large|covers only"),
])  # fmt: skip
def test_what_is_no_such_face_is_refused_with_the_reason(model, head, spoil, message):
    with pytest.raises(ValueError, match=message):
        register(model, spoil(head))


def test_a_caller_who_knows_that_it_is_a_face_may_ask_for_less_likeness(model, head):
    """A wavy face is unlike all training people; with a wider limit it is registered all the same, and the error says how unlike."""
    wavy = permuted(head, rng=np.random.default_rng(0))[0]
    wavy = wavy.with_vertices(wavy.vertices + 4.0 * np.sin(wavy.vertices / 4.0) * [0, 0, 1])
    with pytest.raises(ValueError, match="does not look like"):
        register(model, wavy)
    found = register(model, wavy, largest_shape_error=4.0)
    assert 1.4 < found.error["shape_mm"] / found.error["scale"] < 4.0 and found.error["covered"] > 0.9


def test_landmarks_must_be_points_of_the_face(model, head):
    other = permuted(head, rng=np.random.default_rng(0))[0]
    with pytest.raises(ValueError, match="at least 3 finite points"):
        register(model, other, landmarks={13: (0.0, 0.0, 0.0)})


def test_meshes_of_another_count_are_refused(model, head):
    registration = register(model, head)
    with pytest.raises(ValueError, match="the registered neutral has 4,926 vertices, the expressive meshes 3"):
        encode_any(model, registration, np.zeros((1, 3, 3)))
