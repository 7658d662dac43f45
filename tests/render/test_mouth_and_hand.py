"""The inside of a mouth stays inside, hands are whole, and a beard along the jaw reaches the chin."""
from dataclasses import replace

import numpy as np
import pytest

from serep.faces.landmark_ids import INNER_LIP_IDS
from serep.geometry.camera import Camera
from serep.render import Portraits, open_renderer
from serep.render.appearance import paint_head
from serep.render.hand import hand_piece
from serep.render.mouth import _solid_angles, beside_lips
from serep.render.scene import LABELS
from serep.render.shading import mesh_normals
from serep.render.traits import sample_traits


def test_the_solid_angle_of_a_square_and_of_what_lies_around():
    square = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    heights = np.array([0.5, 1.0, 4.0])
    expected = 4 * np.arcsin(1 / (1 + heights**2))  # of the side 2 over its middle
    np.testing.assert_allclose(_solid_angles(np.column_stack([0 * heights, 0 * heights, heights]), square), expected, rtol=1e-9)


def test_points_are_seen_through_the_lips_or_not():
    """A camera 500 mm before a mouth of 40 x 20 mm: what it sees lies in a cone, and the margin is 1.5 mm wide at the lips."""
    turn = 2 * np.pi * np.arange(20) / 20
    lips = np.column_stack([20 * np.cos(turn), 10 * np.sin(turn), 0 * turn])
    motion = np.diag([1.0, -1.0, -1.0, 1.0])
    motion[2, 3] = 500.0
    camera = Camera(np.array([[1000.0, 0, 100], [0, 1000, 100], [0, 0, 1]]), motion, 200, 200)
    points = np.array([[0.0, 0, -30], [21, 0, -30], [30, 0, -30], [0, -13, -30], [0, 11.3, 0], [0, 13, 0], [19, -30, 5]])
    np.testing.assert_array_equal(beside_lips(points, lips, camera), [False, False, True, True, False, True, True])


def test_teeth_that_would_come_out_of_the_chin_are_not_drawn(portraits, topology, scene_ranges, monkeypatch):
    """The lower teeth pushed down and forwards, out of the skin: with shut lips no tooth is to be seen."""
    from serep.render import portrait

    front = replace(scene_ranges, yaw_max_deg=0.0, pitch_max_deg=0.0, occluder_share=0.0, glasses_share=0.0, beard_share=0.0)
    rng = np.random.default_rng(4)
    sitter = portraits.sitter(topology.template, front, rng=rng)
    shot = sitter.sample_shot(front, topology.landmarks(topology.template), size_px=96, rng=rng)
    renderer = open_renderer("numba", size_px=96, fallback=None)
    monkeypatch.setattr(sitter._jaw, "move", lambda points, vertices: points + np.array([0.0, -18.0, 24.0]))
    hidden = renderer.render(sitter.scene(topology.template, shot)).labels
    monkeypatch.setattr(portrait, "HIDE", 0.0)
    pierced = renderer.render(sitter.scene(topology.template, shot)).labels
    assert (pierced == LABELS.index("teeth")).sum() > 20 and not (hidden == LABELS.index("teeth")).any()


@pytest.mark.parametrize("mirrored", [1.0, -1.0])
def test_hands_are_whole_and_face_outwards(mirrored):
    axes = np.diag([mirrored, 1.0, 1.0])
    skin, elbow = np.array([0.5, 0.3, 0.2]), np.array([0.0, -250.0, 0.0])
    bare, dressed = (hand_piece(axes, np.zeros(3), elbow, size=1.0, skin=skin, sleeve=sleeve, rng=np.random.default_rng(0))
                     for sleeve in (None, np.array([0.0, 0.0, 0.8])))
    for hand in (bare, dressed):
        corners = hand.vertices[hand.faces]
        volume = np.einsum("fa,fa->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
        assert 0.3e6 < volume < 4e6  # mm³; negative if the triangles were turned inside out
        assert np.isfinite(hand.vertices).all() and np.isfinite(mesh_normals(hand.vertices, hand.faces)).all()
        assert set(np.unique(hand.labels)) == {LABELS.index("occluder")}
    thumb = bare.vertices[np.abs(bare.vertices[:, 1]) < 30, 0]
    assert mirrored * (thumb.max() + thumb.min()) < 0  # the thumb is on the side of the index finger
    assert (bare.look.specular > 0.1).any()  # nails
    blue = dressed.look.albedo[:, 2] > 2 * dressed.look.albedo[:, 0]
    assert blue.any() and dressed.vertices[blue, 1].max() < -60
    assert not (bare.look.albedo[:, 2] > bare.look.albedo[:, 0]).any()


def test_a_beard_along_the_jaw_covers_the_chin_and_leaves_the_upper_lip_bare(topology, scene_ranges):
    drawn = Portraits(topology).drawn
    traits = replace(sample_traits(scene_ranges, rng=np.random.default_rng(0)), beard="chin strap", beard_weight=0.9, made_up=False)
    bare = replace(traits, beard="", beard_weight=0.0)
    with_beard, without = (paint_head(drawn, one, rng=np.random.default_rng(1)).albedo.mean(axis=1) for one in (traits, bare))
    mouth = drawn.landmarks(drawn.template)[drawn.landmark_rows(INNER_LIP_IDS)].mean(axis=0)
    x, y, z = (drawn.template - mouth).T
    skin = (drawn.parts == 0) & (z > -60)
    changed = 1 - with_beard / without
    assert np.median(changed[skin & (np.abs(x) < 15) & (y < -32) & (y > -44)]) > 0.4
    assert np.abs(changed[skin & (np.abs(x) < 15) & (y > 8) & (y < 18)]).max() < 0.1
    assert np.abs(changed[skin & (np.abs(x) < 25) & (y > 30)]).max() < 0.02
