from dataclasses import replace

import numpy as np
import pytest

from serep.geometry import project
from serep.render import occlusion_floor, sample_camera, sample_gaze, sample_light, sink_inner_parts
from serep.render.sampling import HEAD_CENTRE


@pytest.fixture
def still(scene_ranges):
    """No chance left but where a test puts it back."""
    no_turn = dict.fromkeys(("yaw_max_deg", "pitch_max_deg", "roll_max_deg", "shift_max"), 0.0)
    return replace(scene_ranges, **no_turn, view_min_deg=20.0, view_max_deg=20.0, margin_min=2.0, margin_max=2.0)


def test_frames_the_landmarks(still, topology, rng):
    marks = topology.landmarks(topology.template)
    pixels = project(marks, sample_camera(still, marks, size_px=128, rng=rng))
    assert (pixels.max(axis=0) - pixels.min(axis=0)).max() == pytest.approx(64)
    np.testing.assert_allclose((pixels.max(axis=0) + pixels.min(axis=0)) / 2, 64, atol=1e-9)
    right, left, mouth = (pixels[topology.landmark_rows((one,))[0]] for one in (33, 263, 14))
    assert right[0] < left[0] and mouth[1] > right[1] + 10  # upright, not mirrored


def test_margin_and_shift_stay_in_range(scene_ranges, topology):
    marks = topology.landmarks(topology.template)
    for seed in range(50):
        pixels = project(marks, sample_camera(scene_ranges, marks, size_px=100, rng=np.random.default_rng(seed)))
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        assert 100 / scene_ranges.margin_max - 1e-6 <= (high - low).max() <= 100 / scene_ranges.margin_min + 1e-6
        assert np.abs((low + high) / 2 - 50).max() <= 100 * scene_ranges.shift_max + 1e-6


def test_turns_reach_their_limits_about_the_head(still, topology):
    marks = topology.landmarks(topology.template)
    centre = marks.mean(axis=0) - [0, 0, HEAD_CENTRE]
    yaws = []
    for seed in range(300):
        camera = sample_camera(replace(still, yaw_max_deg=75.0), marks, size_px=64, rng=np.random.default_rng(seed))
        away = camera.centre - centre
        assert np.linalg.norm(away) == pytest.approx(130 / np.tan(np.radians(10))) and abs(away[1]) < 1e-9
        yaws.append(np.degrees(np.arctan2(away[0], away[2])))
    assert 55 < np.max(yaws) <= 75 and -75 <= np.min(yaws) < -55 and abs(np.mean(yaws)) < 6


def test_wide_views_come_nearer(still, topology, rng):
    marks = topology.landmarks(topology.template)
    near, far = (sample_camera(replace(still, view_min_deg=view, view_max_deg=view), marks, size_px=64, rng=rng).centre[2] for view in (45.0, 12.0))
    assert near < far / 2


def test_same_seed_same_scene(scene_ranges, topology):
    marks = topology.landmarks(topology.template)

    def draw(seed: int) -> tuple:
        rng = np.random.default_rng(seed)
        camera, light = sample_camera(scene_ranges, marks, size_px=64, rng=rng), sample_light(scene_ranges, rng=rng)
        return camera.intrinsics, light.sh, light.colour, sample_gaze(scene_ranges, rng=rng)

    for one, again in zip(draw(5), draw(5), strict=True):
        np.testing.assert_array_equal(one, again)
    assert not np.array_equal(draw(5)[1], draw(6)[1])


def test_light_keeps_to_its_ranges(scene_ranges):
    for seed in range(100):
        light = sample_light(scene_ranges, rng=np.random.default_rng(seed))
        assert np.linalg.norm(light.direction) == pytest.approx(1)
        assert scene_ranges.lamp_min - 1e-9 <= light.colour.mean() <= scene_ranges.lamp_max + 1e-9
        assert scene_ranges.surroundings_min - 1e-9 <= light.sh[0].mean() * 0.282095 <= scene_ranges.surroundings_max + 1e-9
        assert -15 - 1e-9 <= np.degrees(np.arcsin(light.direction[1])) <= 70 + 1e-9
        assert light.colour.max() / light.colour.min() < 2.5  # no neon


def test_sinking_keeps_pixels_and_skin(topology, scene_ranges, rng):
    camera = sample_camera(scene_ranges, topology.landmarks(topology.template), size_px=64, rng=rng)
    sunk = sink_inner_parts(topology.template, topology, camera)
    np.testing.assert_allclose(project(sunk, camera), project(topology.template, camera), atol=1e-9)
    moved = np.linalg.norm(sunk - topology.template, axis=1)
    assert not moved[topology.parts == 0].any() and moved[topology.parts == 4].min() > 1 and moved.max() <= 8 + 1e-9
    assert (np.linalg.norm(sunk - camera.centre, axis=1) >= np.linalg.norm(topology.template - camera.centre, axis=1) - 1e-9).all()


def test_floor_keeps_eyes_and_teeth_bright(topology):
    floor = occlusion_floor(topology)
    mouth = topology.parts == 3
    assert floor[topology.parts == 0].max() < 0.2 and floor[topology.parts == 4].min() > 0.5
    assert np.corrcoef(floor[mouth], topology.template[mouth, 2])[0, 1] > 0.8


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"margin_min": 3.0}, "margin_min = 3.0 exceeds margin_max = 2.5; swap them"),
        ({"yaw_max_deg": -1.0}, "yaw_max_deg must not be negative, got -1.0"),
        ({"glasses_share": 1.2}, "glasses_share is a share from 0 to 1, got 1.2"),
        ({"view_max_deg": 150.0}, "fields of view must lie within 0 and 120"),
    ],
)
def test_impossible_ranges_are_refused(scene_ranges, change, words):
    with pytest.raises(ValueError, match=words):
        replace(scene_ranges, **change)
