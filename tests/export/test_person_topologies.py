"""People whose meshes have a topology of their own: the same surface as a head of the model, in other triangles and another frame."""
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from serep.export.overlay import clay_colours
from serep.export.person import Person
from serep.geometry import Mesh, apply_rigid
from serep.geometry.remesh import cropped, permuted, subdivided
from serep.models.semantic import DisplacementPca

MOTION = Rotation.from_rotvec(np.radians([6, -9, 2])).as_matrix(), np.array([40.0, 1600.0, -25.0])


@pytest.fixture(scope="module")
def model(topology):
    """Three smooth modes around the mouth and one at the brows, each a motion along an axis, 1 mm where it moves most."""
    model = DisplacementPca(topology, code_size=4)
    lips = topology.template[topology.regions["lips"] > 0.5].mean(axis=0)
    brows = topology.template[topology.regions["brow_left"] > 0.5].mean(axis=0)
    mouth, brow = (np.exp(-((topology.template - centre) ** 2).sum(axis=1) / 25**2) for centre in (lips, brows))
    modes = np.zeros((4, *topology.template.shape), np.float32)
    for mode, (weight, axis) in enumerate(((mouth, 0), (mouth, 1), (mouth, 2), (brow, 1))):
        modes[mode, :, axis] = weight
    length = np.linalg.norm(modes.reshape(4, -1), axis=1)
    model.modes[:] = torch.from_numpy(modes.reshape(4, -1) / length[:, None])
    model.decoder.matrix[:] = torch.diag(torch.from_numpy(length))
    return model.eval()


@pytest.fixture(scope="module")
def native(model, topology):
    return Person.meet(model, topology.mesh(topology.template), Path("native.obj"))


@pytest.fixture(scope="module")
def carry(topology):
    """(mesh of the other topology, matrix that carries vertices there)."""
    mesh, first = subdivided(topology.mesh(topology.template))
    mesh, second = permuted(mesh, rng=np.random.default_rng(0))
    return mesh, second @ first


@pytest.fixture(scope="module")
def foreign(model, carry):
    """The same head in four times as many triangles, numbered anew, turned, and standing on the floor."""
    return Person.meet(model, Mesh(apply_rigid(carry[0].vertices, *MOTION), carry[0].faces), Path("foreign.obj"))


CODES = np.array([[0, -8, 0, 0], [4, 0, 3, 0], [0, 0, 0, 6]], np.float32)


def carried(carry, vertices):
    """Meshes of the model's topology in the other topology and frame."""
    return apply_rigid(np.stack([carry[1] @ mesh for mesh in vertices.astype(np.float64)]), *MOTION)


def test_the_note_says_how_well_it_fits(foreign):
    assert len(foreign.notes) == 1 and foreign.notes[0].startswith("foreign.obj has a topology of its own; makehuman-head was fitted to it with 0.")
    assert "of the face covered" in foreign.notes[0]


def test_codes_do_not_depend_on_the_triangles(native, foreign, carry):
    codes = foreign.encode(carried(carry, native.rig.pose(CODES)))
    np.testing.assert_allclose(codes, CODES, atol=0.5)


def test_the_mesh_is_driven_in_its_own_triangles_and_frame(native, foreign, carry, topology):
    posed, expected = foreign.rig.pose(CODES), carried(carry, native.rig.pose(CODES))
    np.testing.assert_array_equal(foreign.rig.neutral.faces, carry[0].faces)
    np.testing.assert_allclose(foreign.rig.neutral.vertices, foreign.neutral.vertices, atol=1e-9)
    skin = (carry[1] @ (topology.parts == 0)) > 0.999
    error = np.linalg.norm(posed - expected, axis=-1)[:, skin]
    assert error.mean() < 0.1 and np.percentile(error, 99) < 0.8
    assert np.linalg.norm(expected - foreign.neutral.vertices, axis=-1).max() > 5


def test_it_stands_upright_in_the_models_frame(native, foreign, carry):
    np.testing.assert_allclose(foreign.upright(foreign.neutral.vertices), carry[0].vertices, atol=1.0)
    assert np.abs(foreign.face_points - native.face_points).max() < 6


def test_head_motion_is_taken_off(native, foreign, carry):
    expressive = carried(carry, native.rig.pose(CODES))
    nods = Rotation.from_rotvec(np.radians([[4, 0, 0], [0, 0, 0], [0, 7, 2]])).as_matrix()
    middle = foreign.neutral.vertices.mean(axis=0)
    back, moved, rest = foreign.on_neutral(apply_rigid(expressive - middle, nods, np.array([[0, 3, 5.0], [0, 0, 0], [20, 0, 0]])) + middle)
    np.testing.assert_allclose(back, expressive, atol=0.3)
    assert moved[0] > 5 and moved[2] > 10 and moved[1] < 0.2 and rest.max() < 0.3
    assert len(foreign.frame_remarks(moved, rest, ["a", "b", "c"], Path("foreign.obj"))) == 1


def test_of_a_mask_what_moves_least_holds_still(model, native, topology):
    """No skull, no neck: head motion shows at the forehead and the temples."""
    mesh, matrix = cropped(topology.mesh(topology.template), topology.regions["face"] > 0.5)
    mask = Person.meet(model, mesh, Path("mask.obj"))
    turn = Rotation.from_rotvec(np.radians([0, 6, 0])).as_matrix()
    expressive = np.stack([matrix @ mesh for mesh in native.rig.pose(CODES).astype(np.float64)])
    back, moved, _ = mask.on_neutral(expressive @ turn.T)
    assert moved.min() > 3
    np.testing.assert_allclose(back, expressive, atol=0.5)


def test_lips_and_brows_keep_their_colours(foreign, carry, topology):
    expected, skin = carry[1] @ clay_colours(topology), topology.parts == 0
    outside = (carry[1] @ skin) > 0.999
    difference = np.abs(foreign.colours - expected)[outside]
    assert difference.mean() < 0.01 and foreign.colours.min() >= 0 and foreign.colours.max() <= 1
    lips = (carry[1] @ topology.regions["lips"] > 0.9) & outside
    assert (foreign.colours[lips, 0] > 1.3 * foreign.colours[lips, 1]).mean() > 0.9


def test_landmarks_lie_on_the_mesh_and_move_with_it(native, foreign, topology):
    posed = foreign.rig.pose(CODES)
    expected = apply_rigid(topology.landmarks(native.rig.pose(CODES).astype(np.float64)), *MOTION)
    distance = np.linalg.norm(foreign.landmarks(posed) - expected, axis=-1)
    assert distance.mean() < 1.0 and distance.max() < 5
