"""Masks lie where their names say, on every topology."""
import numpy as np
import pytest

from serep.faces.mirror import ACROSS, mirror_map
from serep.faces.regions import EYE_REGIONS, METRIC_REGIONS, PAINT_REGIONS, REGIONS, ball_centre, depth_inside, distance_to_line, smooth_step


def check_regions(topology, *, eyes: bool) -> None:
    regions = topology.regions
    assert set(regions) == set(REGIONS)
    for name, mask in regions.items():
        assert mask.min() >= 0 and mask.max() <= 1
        assert (mask.max() > 0.5) == (eyes or name not in EYE_REGIONS), name
    metric = np.stack([regions[name] for name in METRIC_REGIONS])
    assert set(np.unique(metric)) == {0.0, 1.0} and metric.sum(axis=0).max() == 1  # hard and disjoint
    assert np.array_equal(metric.sum(axis=0), regions["face"])
    assert np.array_equal(regions["mouth_cheek"], regions["mouth"] + regions["cheek"])
    skin = topology.parts == 0
    assert all((regions[name][~skin] == 0).all() for name in (*METRIC_REGIONS, *PAINT_REGIONS))
    assert np.allclose(sum(regions[name] for name in EYE_REGIONS), np.isin(topology.parts, (1, 2)), atol=1e-6)
    for name, mask in regions.items():  # symmetric, sides swapped
        other = {"brow_left": "brow_right", "brow_right": "brow_left"}.get(name, name)
        assert np.abs(regions[other][topology.mirror] - mask).max() < 0.3 or name in METRIC_REGIONS, name
    at, height = topology.template, lambda name: np.average(topology.template[:, 1], weights=regions[name])
    assert height("hair") > height("brow_left") > height("lids") > height("nose") > height("lips") > height("beard")
    assert height("eyes_forehead") > height("nose") > height("cheek") > height("mouth")
    assert at[regions["brow_left"] > 0.5, 0].min() > 0 > at[regions["brow_right"] > 0.5, 0].max()
    assert (regions["face"] > 0).mean() > 0.2 and at[regions["face"] > 0, 2].min() > 20


def test_built_in_regions(topology):
    check_regions(topology, eyes=True)
    for name, part in (("eye_left", 1), ("eye_right", 2)):
        for region, radius in (("pupil", 2.0), ("iris", 6.0)):
            disc = topology.template[(topology.regions[region] > 0.5) & (topology.parts == part)]
            assert np.ptp(disc[:, 0]) / 2 == pytest.approx(radius, abs=0.6), (name, region)


def test_ict_regions(shared_data):
    from serep.faces import open_head_model

    check_regions(open_head_model("ict", shared_data / "ict").topology, eyes=False)


def test_building_blocks():
    assert smooth_step(np.array([-1.0, 0.5, 2.0]), 0.0, 1.0).tolist() == [0, 0.5, 1]
    assert smooth_step(np.array([-1.0, 2.0]), 1.0, 0.0).tolist() == [1, 0]
    square = np.array([[0.0, 0], [2, 0], [2, 2], [0, 2]])
    points = np.array([[1.0, 1], [1, 1.5], [3, 1], [3, 3]])
    assert np.allclose(depth_inside(points, square), [1, 0.5, -1, -np.sqrt(2)])
    assert np.allclose(distance_to_line(points, square, closed=False), [1, 0.5, 1, np.sqrt(2)])
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(50, 3)) * [1, 1, 0.2] + [0, 0, 1]
    ball = np.array([1.0, 2, 3]) + 12 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    assert np.allclose(ball_centre(ball), [1, 2, 3], atol=1e-9)


def test_mirror_map_refuses_a_lopsided_head(topology):
    vertices = topology.template.copy()
    assert np.array_equal(mirror_map(vertices), topology.mirror) and np.allclose(vertices[topology.mirror] * ACROSS, vertices, atol=0.02)
    vertices[100] += 3
    with pytest.raises(ValueError, match="not symmetric"):
        mirror_map(vertices)
