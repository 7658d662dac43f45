from dataclasses import replace

import numpy as np
import pytest

from serep.faces import open_head_model
from serep.render.appearance import brow_weight, paint_head, skin_colour
from serep.render.traits import BEARDS, Traits, sample_traits


def person(topology, ranges, seed: int, **changes):
    """(traits, colours) of a random person."""
    rng = np.random.default_rng(seed)
    traits = replace(sample_traits(ranges, rng=rng), **changes)
    return traits, paint_head(topology, traits, rng=rng)


@pytest.fixture(scope="module")
def drawn(portraits):
    """The built-in head as it is drawn, with finer brows and lips."""
    return portraits.drawn


def test_same_seed_same_look_and_other_seed_another(drawn, scene_ranges):
    (_, one), (_, again), (_, other) = (person(drawn, scene_ranges, seed) for seed in (3, 3, 4))
    for name in ("albedo", "specular", "shininess"):
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name))
    assert np.abs(one.albedo - other.albedo).max() > 0.02


def test_skin_darkens_with_melanin_and_reddens_with_blood():
    tones = skin_colour(np.linspace(0, 1, 11), np.full(11, 0.5))
    assert (np.diff(tones, axis=0) < 0).all() and (np.diff(tones[0:1]) < 0).all()
    assert (tones[:, 0] > tones[:, 1]).all() and (tones[:, 1] > tones[:, 2]).all()
    pale, flushed = skin_colour(np.full(2, 0.2), np.array([0.2, 1.2]))
    assert flushed[0] / flushed[1] > 1.2 * pale[0] / pale[1]


def test_looks_stay_plausible(drawn, scene_ranges):
    """Over many people: in range, skin never green or blue, lips redder than cheeks, brows darker than the forehead, pupils dark in bright eyes."""
    region, darker_brows, redder_lips, forehead_tones = drawn.regions, [], [], []
    any_brow = np.maximum(region["brow_left"], region["brow_right"])
    forehead = (region["eyes_forehead"] > 0) & (any_brow + region["hair"] + region["lids"] < 0.05)
    cheek = (region["cheek"] > 0) & (region["beard"] < 0.05)
    for seed in range(40):
        traits, look = person(drawn, scene_ranges, seed)
        assert look.albedo.min() > 0 and look.albedo.max() <= 0.95
        assert look.specular.min() >= 0 and look.specular.max() <= 1 and look.shininess.min() >= 1
        red, green, blue = look.albedo[forehead].mean(axis=0)
        assert red > green > blue
        forehead_tones.append(red)
        darker_brows.append(look.albedo[any_brow > 0.8].mean() < look.albedo[forehead].mean() or traits.brows.mean() > 0.8 * look.albedo[forehead].mean())
        ratio = [look.albedo[where, 0].mean() / look.albedo[where, 1].mean() for where in (region["lips"] > 0.9, cheek)]
        redder_lips.append(ratio[0] > ratio[1])
        assert look.albedo[region["pupil"] > 0.9].max() < 0.02 and look.albedo[region["sclera"] > 0.9].min() > 0.35
    assert np.mean(darker_brows) > 0.9 and np.mean(redder_lips) > 0.9
    assert min(forehead_tones) < 0.15 and max(forehead_tones) > 0.6


def test_traits_come_as_often_as_asked_and_together(scene_ranges):
    people = [sample_traits(scene_ranges, rng=np.random.default_rng(seed)) for seed in range(1500)]
    for found, share in ((lambda one: one.bald, scene_ranges.bald_share), (lambda one: bool(one.beard), scene_ranges.beard_share),
                         (lambda one: one.made_up, scene_ranges.makeup_share)):
        assert np.mean([found(one) for one in people]) == pytest.approx(share, abs=0.03)
    assert not any(one.feminine and (one.beard or one.bald) for one in people) and not any(one.made_up and not one.feminine for one in people)
    assert {one.beard for one in people} == {*BEARDS, ""}
    melanin, hair = np.array([one.melanin for one in people]), np.array([one.hair.mean() for one in people])
    natural = np.array([one.hair.mean() / one.brows.mean() < 4 for one in people])  # not dyed
    assert np.corrcoef(melanin[natural], np.log(hair[natural]))[0, 1] < -0.3
    for one in people:
        if one.melanin > 0.5:
            assert one.iris.max() < 0.09


def test_every_head_may_be_bald_or_none(scene_ranges):
    for share, expected in ((0.0, 0.0), (1.0, 1.0)):
        ranges = replace(scene_ranges, bald_share=share, beard_share=share, makeup_share=share)
        people = [sample_traits(ranges, rng=np.random.default_rng(seed)) for seed in range(40)]
        assert np.mean([(one.bald, bool(one.beard), one.made_up) for one in people]) == expected


def test_beards_lie_where_their_names_say(drawn, scene_ranges):
    template, mouth = drawn.template, drawn.landmarks(drawn.template)[drawn.landmark_rows((13, 14))].mean(axis=0)
    lip = (np.abs(template[:, 0]) < 15) & (template[:, 1] > mouth[1] + 6) & (template[:, 1] < mouth[1] + 14) & (drawn.regions["beard"] > 0.5)
    jaw = (np.abs(template[:, 0]) > 45) & (drawn.regions["beard"] > 0.8)
    darker = {}
    for beard in (*BEARDS, ""):
        _, look = person(drawn, scene_ranges, 5, feminine=False, beard=beard, beard_weight=0.9 * bool(beard), melanin=0.1, brows=np.full(3, 0.01))
        darker[beard] = [look.albedo[where].mean() for where in (lip, jaw)]
    bare_lip, bare_jaw = darker[""]
    assert darker["full"][0] < 0.7 * bare_lip and darker["full"][1] < 0.5 * bare_jaw
    assert darker["moustache"][0] < 0.7 * bare_lip and darker["moustache"][1] > 0.9 * bare_jaw
    assert darker["goatee"][1] > 0.9 * bare_jaw and darker["chin strap"][0] > 0.9 * bare_lip and darker["chin strap"][1] < 0.95 * bare_jaw


def test_brows_keep_to_the_brows(drawn):
    """Over many draws: strong in the middle of the region, nothing further than a brow's thickness from it."""
    mask = {name: np.asarray(weight, np.float64) for name, weight in drawn.regions.items()}
    both = np.maximum(mask["brow_left"], mask["brow_right"])
    core = drawn.template[both > 0.5]
    distance = np.linalg.norm(drawn.template[:, None, :2] - core[None, ::3, :2], axis=-1).min(axis=1)
    spacing = np.full(len(both), 2.0)
    for seed in range(20):
        weight = brow_weight(drawn, mask, spacing, feminine=bool(seed % 2), rng=np.random.default_rng(seed))
        assert weight.min() >= 0 and weight.max() <= 1
        assert weight[both > 0.9].mean() > 0.25 and weight[distance > 9].max() < 0.05


@pytest.mark.parametrize("empty", ["all", "eyes"])
def test_empty_regions_are_not_painted(topology, scene_ranges, empty):
    names = topology.regions if empty == "all" else ("iris", "pupil", "sclera")
    nothing = np.zeros(len(topology.template))
    bare = replace(topology, regions=topology.regions | dict.fromkeys(names, nothing), parts=nothing.astype(np.uint8))
    _, look = person(bare, scene_ranges, 0)
    assert np.isfinite(look.albedo).all()
    if empty == "all":
        assert look.albedo.std(axis=0).max() < 0.05


def test_scans_are_painted_too(shared_data, scene_ranges):
    model = open_head_model("ict", shared_data / "ict")
    traits, look = person(model.topology, scene_ranges, 1)
    assert isinstance(traits, Traits) and np.isfinite(look.albedo).all() and look.albedo.std() > 0.01
