from dataclasses import replace

import numpy as np
import pytest

from serep.faces import open_head_model
from serep.faces.regions import ball_centre
from serep.geometry import face_normals, project
from serep.render import Insets, Scene, open_renderer, sample_camera, sample_light, sink_inner_parts
from serep.render.appearance import paint_head
from serep.render.traits import sample_traits


@pytest.fixture(scope="module")
def hollow(topology):
    """The built-in head as a scanner would see it: nothing in the eyes and the mouth."""
    skin = topology.parts == 0
    regions = topology.regions | dict.fromkeys(("iris", "pupil", "sclera"), np.zeros(len(skin)))
    return replace(topology, faces=topology.faces[skin[topology.faces].all(axis=1)], parts=np.zeros_like(topology.parts), regions=regions)


def test_a_whole_head_stays_as_it_is(topology):
    insets = Insets(topology)
    assert insets.topology is topology and insets.add(topology.template) is topology.template


def test_eyes_sit_where_the_real_ones_do(topology, hollow):
    full = Insets(hollow).topology
    for name in ("eye_left", "eye_right"):
        part = full.part_names.index(name)
        made, real = (ball_centre(one.template[one.parts == part]) for one in (full, topology))
        np.testing.assert_allclose(made[:2], real[:2], atol=3.5)
        fronts = [one.template[one.parts == part, 2].max() for one in (full, topology)]
        assert fronts[0] == pytest.approx(fronts[1], abs=4.0)
        inside = (full.parts[full.faces] == part).all(axis=1)
        outward = full.template[full.faces[inside]].mean(axis=1) - made
        assert (outward * face_normals(full.template, full.faces[inside])).sum(axis=1).min() > 0
    assert full.regions["iris"].sum() > 40 and full.regions["pupil"].sum() > 20
    assert all(mask.shape == (len(full.template),) for mask in full.regions.values())
    np.testing.assert_array_equal(full.template[: len(hollow.template)], hollow.template)


def test_eyes_do_not_follow_the_lids(head_model, hollow):
    insets, neutral = Insets(hollow), head_model.topology.template
    weights = np.zeros((1, len(head_model.expression_names)))
    weights[0, [head_model.expression_names.index(f"eyeBlink_{side}") for side in "LR"]] = 1
    shut = np.asarray(head_model.expressive(neutral, weights)[0], np.float64)
    eyes = insets.topology.parts == 1
    assert np.abs(insets.add(shut)[eyes] - insets.add(neutral)[eyes]).max() < 1.0


def picture_of(insets: Insets, vertices: np.ndarray, scene_ranges, size: int = 128):
    front = replace(scene_ranges, yaw_max_deg=0.0, pitch_max_deg=0.0, roll_max_deg=0.0, margin_min=1.2, margin_max=1.2, shift_max=0.0)
    topology, whole, rng = insets.topology, insets.add(vertices), np.random.default_rng(0)
    camera = sample_camera(front, topology.landmarks(whole), size_px=size, rng=rng)
    look, light = paint_head(topology, sample_traits(front, rng=rng), rng=rng), sample_light(front, rng=rng)
    scene = Scene(sink_inner_parts(whole, topology, camera), topology.faces, look, np.ones(len(whole)), light, camera)
    return open_renderer("numba", size_px=size, fallback=None).render(scene), camera


@pytest.mark.parametrize("source", ["makehuman", "ict"])
def test_no_hole_in_eyes_and_open_mouth(source, request, scene_ranges):
    if source == "ict":
        model = open_head_model("ict", request.getfixturevalue("shared_data") / "ict" / "ict_face.npz")
        base = model.topology
    else:
        model, base = request.getfixturevalue("head_model"), request.getfixturevalue("hollow")
    weights = np.zeros((1, len(model.expression_names)))
    weights[0, model.expression_names.index("jawOpen")] = 0.8
    open_mouth = np.asarray(model.expressive(base.template, weights)[0], np.float64)
    layers, camera = picture_of(Insets(base), open_mouth, scene_ranges)
    marks = project(base.landmarks(open_mouth), camera)
    points = [marks[base.landmark_rows(ids)].mean(axis=0) for ids in ((13, 14), (159, 145), (386, 374))]
    patches = [(slice(int(y) - 2, int(y) + 3), slice(int(x) - 4, int(x) + 5)) for x, y in points]
    assert all((layers.mask[patch] == 255).all() for patch in patches)
    mouth, *eyes = (layers.rgb[patch] for patch in patches)
    assert mouth.mean() < 100 and min(eye.max() for eye in eyes) > 100
