from dataclasses import replace

import numpy as np
import pytest

from serep.render import sample_appearance
from serep.render.appearance import skin_colour


def test_same_seed_same_look_and_other_seed_another(topology):
    one, again, other = (sample_appearance(topology, rng=np.random.default_rng(seed)) for seed in (3, 3, 4))
    for name in ("albedo", "specular", "shininess"):
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name))
    assert np.abs(one.albedo - other.albedo).max() > 0.02


def test_skin_darkens_with_melanin_and_reddens_with_blood():
    tones = skin_colour(np.linspace(0, 1, 11), np.full(11, 0.5))
    assert (np.diff(tones, axis=0) < 0).all() and (np.diff(tones[0:1]) < 0).all()
    assert (tones[:, 0] > tones[:, 1]).all() and (tones[:, 1] > tones[:, 2]).all()
    pale, flushed = skin_colour(np.full(2, 0.2), np.array([0.2, 1.2]))
    assert flushed[0] / flushed[1] > 1.2 * pale[0] / pale[1]


def test_looks_stay_plausible(topology):
    """Over many people: in range, skin never green or blue, lips redder than cheeks, brows darker than the forehead, pupils dark in bright eyes."""
    region, darker_brows, redder_lips, forehead_tones = topology.regions, [], [], []
    brows = np.maximum(region["brow_left"], region["brow_right"]) > 0.8
    forehead = (region["eyes_forehead"] > 0) & (np.maximum(region["brow_left"], region["brow_right"]) + region["hair"] + region["lids"] < 0.05)
    cheek = (region["cheek"] > 0) & (region["beard"] < 0.05)
    for seed in range(40):
        look = sample_appearance(topology, rng=np.random.default_rng(seed))
        assert look.albedo.min() > 0 and look.albedo.max() <= 0.95
        assert look.specular.min() >= 0 and look.specular.max() <= 1 and look.shininess.min() >= 1
        red, green, blue = look.albedo[forehead].mean(axis=0)
        assert red > green > blue
        forehead_tones.append(red)
        darker_brows.append(look.albedo[brows].mean() < look.albedo[forehead].mean())
        ratio = [look.albedo[where, 0].mean() / look.albedo[where, 1].mean() for where in (region["lips"] > 0.9, cheek)]
        redder_lips.append(ratio[0] > ratio[1])
        assert look.albedo[region["pupil"] > 0.9].max() < 0.02 and look.albedo[region["sclera"] > 0.9].min() > 0.4
    assert np.mean(darker_brows) > 0.85 and np.mean(redder_lips) > 0.9
    assert min(forehead_tones) < 0.15 and max(forehead_tones) > 0.6


def test_dark_skin_has_dark_eyes_and_hair(topology):
    for seed in range(60):
        look = sample_appearance(topology, rng=np.random.default_rng(seed))
        skin = look.albedo[topology.regions["cheek"] > 0][:, 0].mean()
        if skin < 0.15:
            assert look.albedo[topology.regions["iris"] > 0.9].max() < 0.09


@pytest.mark.parametrize("empty", ["all", "eyes"])
def test_empty_regions_are_not_painted(topology, empty):
    names = topology.regions if empty == "all" else ("iris", "pupil", "sclera")
    nothing = np.zeros(len(topology.template))
    bare = replace(topology, regions=topology.regions | dict.fromkeys(names, nothing), parts=nothing.astype(np.uint8))
    look = sample_appearance(bare, rng=np.random.default_rng(0))
    assert np.isfinite(look.albedo).all()
    if empty == "all":
        assert look.albedo.std(axis=0).max() < 0.05
