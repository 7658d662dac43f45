import numpy as np
import pytest

from serep.export.overlay import BACKGROUND, HeadView, clay_colours, draw_landmarks, panel_px, side_by_side


@pytest.fixture(scope="module")
def view(topology):
    return HeadView(topology.mesh(topology.template), clay_colours(topology), size_px=96)


def covered(picture):
    return (picture != BACKGROUND).any(axis=-1)


def turned(yaw_deg, pitch_deg=0.0):
    """A head before the camera, turned to its left (the image's right) and then down, at a distance that must not matter."""
    yaw, pitch = np.radians([yaw_deg, pitch_deg])
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    pose = np.eye(4)
    pose[:3, :3] = np.diag([1, -1, -1]) @ about_x @ about_y
    pose[:3, 3] = [300, -200, 900]
    return pose


def nose_place(view, topology, pose):
    """Where the picture changes most when the nose grows: its middle in shares of the picture."""
    longer = topology.template + 25 * topology.regions["nose"][:, None] * [0, 0, 1]
    change = np.abs(view.draw(longer, pose).astype(int) - view.draw(topology.template, pose)).sum(axis=-1).astype(float)
    rows, columns = np.indices(change.shape)
    return np.array([(columns * change).sum(), (rows * change).sum()]) / change.sum() / len(change)


def test_head_fills_the_picture_and_lies_in_it(view, topology):
    for pose in (None, turned(0), turned(60), turned(-40, 30)):
        mask = covered(view.draw(topology.template, pose))
        assert mask.mean() > 0.2 and not mask[[0, -1]].any() and not mask[:, [0, -1]].any()
    assert np.array_equal(view.draw(topology.template, None), view.draw(topology.template, turned(0)))
    assert not covered(view.draw(None, None)).any()


def test_head_turns_as_the_camera_sees_it(view, topology):
    front, left, down = (nose_place(view, topology, pose) for pose in (turned(0), turned(35), turned(0, 25)))
    assert abs(front[0] - 0.5) < 0.03
    assert left[0] > front[0] + 0.08 and abs(left[1] - front[1]) < 0.05
    assert down[1] > front[1] + 0.05


def test_clay_paints_what_must_be_seen(topology):
    colours = clay_colours(topology)
    assert colours.shape == topology.template.shape and colours.min() >= 0 and colours.max() <= 1
    brightness = colours.mean(axis=1)
    eyes = np.isin(topology.parts, [topology.part_names.index("eye_left"), topology.part_names.index("eye_right")])
    pupil, white = eyes & (topology.regions["pupil"] > 0.9), eyes & (topology.regions["sclera"] > 0.9)
    assert brightness[white].min() > 3 * brightness[pupil].max()
    lips = topology.regions["lips"] > 0.9
    assert (colours[lips, 0] > 1.3 * colours[lips, 1]).all()


def test_landmarks_are_drawn_where_they_are():
    image = np.full((80, 100, 3), 60, np.uint8)
    points = np.array([[20.5, 30.5], [70.5, 60.5], [np.nan, np.nan], [1e9, 5.0]])
    drawn = draw_landmarks(image, points, np.array([10.0, 12.0, 90.0, 70.0]))
    assert not (image != 60).any()  # the frame itself stays
    assert drawn[30, 20, 1] > 200 and drawn[60, 70, 1] > 200
    assert (drawn[12, 15:85] != 60).any(axis=-1).all() and (drawn[15:65, 90] != 60).any(axis=-1).all()
    assert (drawn != 60).any(axis=-1).mean() < 0.15
    no_face = draw_landmarks(image, None, None)
    assert (no_face[:40, :60] != 60).any() and not (no_face[60:] != 60).any()


@pytest.mark.parametrize(
    ("height", "width", "panel", "shape"), [(480, 640, 480, (480, 1120)), (2160, 3840, 512, (1080, 2432)), (30, 40, 64, (64, 149))]
)
def test_sizes(height, width, panel, shape):
    assert panel_px(height) == panel
    picture = side_by_side(np.zeros((height, width, 3), np.uint8), np.full((panel, panel, 3), 9, np.uint8))
    assert picture.shape == (*shape, 3)
    assert (picture[shape[0] // 2, -panel:] == 9).all()
