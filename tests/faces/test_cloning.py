"""Cloned expressions turn and grow with the person's surface."""
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from small_heads import draw_neutral, sheet, unit_displacements

from serep.faces import BUILT_IN_HEADS, open_head_model
from serep.faces.cloning import ExpressionCloning


@pytest.fixture(scope="module")
def cloning():
    vertices, faces, _ = sheet()
    return ExpressionCloning(vertices, faces), vertices


def test_the_template_performs_its_own_displacements(cloning):
    made, template = cloning
    np.testing.assert_allclose(made.carry(unit_displacements(), template), unit_displacements(), atol=1e-9)


def test_a_turned_and_grown_head_performs_them_turned_and_grown(cloning):
    made, template = cloning
    turn = Rotation.from_rotvec([0.3, -0.5, 0.2]).as_matrix()
    carried = made.carry(unit_displacements(), 1.3 * template @ turn.T + [5.0, 0, -20])
    np.testing.assert_allclose(carried, 1.3 * unit_displacements() @ turn.T, atol=1e-9)


def test_frames_are_rotations_and_scales_follow_the_place(cloning, rng):
    made, template = cloning
    rotations, scales = made.local_changes(draw_neutral(rng))
    np.testing.assert_allclose(rotations @ rotations.swapaxes(1, 2), np.broadcast_to(np.eye(3), rotations.shape), atol=1e-9)
    assert (np.linalg.det(rotations) > 0).all()
    wide = template * np.where(template[:, :1] > 0, [1.5, 1, 1], 1.0)  # only the left half is wider
    _, scales = made.local_changes(wide)
    assert scales[template[:, 0] > 40].min() > 1.1 and abs(scales[template[:, 0] < -40] - 1).max() < 0.01


def test_a_mirrored_person_does_not_turn_inside_out(cloning):
    made, template = cloning
    rotations, _ = made.local_changes(template * [-1, 1, 1])
    assert np.linalg.det(rotations).min() > 0


def test_built_in_heads_keep_their_expressions_and_make_them_their_own(head_model):
    model = open_head_model("makehuman", BUILT_IN_HEADS, expression_transfer="cloning")
    weights = np.stack([np.array(model.expression_names) == name for name in ("jawOpen", "mouthSmile_L", "eyeBlink_R")]).astype(float)
    neutral = model.draw_neutral(rng=np.random.default_rng(3))
    cloned, transferred = (one.expressive(neutral, weights) - neutral for one in (model, head_model))
    copied = np.tensordot(weights, model.expression_units, axes=1)
    face = model.topology.regions["face"] > 0
    for other, near in ((transferred, 0.5), (copied, 0.25)):
        away = np.linalg.norm(cloned - other, axis=-1)[:, face]
        assert away.max() > 0.5 and away.mean() < near * np.linalg.norm(copied, axis=-1)[:, face].mean()
    assert np.abs(cloned[:, model.topology.fixed]).max() < 0.01
