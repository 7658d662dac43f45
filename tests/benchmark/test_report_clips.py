import dataclasses

import numpy as np
import pytest
from small_heads import small_heads, training_options

from serep.benchmark.report_clips import capture_clip, retargeting_clip
from serep.benchmark.sequences import range_of_motion
from serep.training.semantic_task import train_semantic

OPTIONS = {"expressions": 3, "frames_per_expression": 8, "fps": 25.0, "seed": 0}


def with_face(heads):
    regions = heads.topology.regions
    return dataclasses.replace(heads, topology=dataclasses.replace(heads.topology, regions=regions | {"face": np.maximum(regions["mouth"], regions["nose"])}))


@pytest.fixture(scope="module")
def heads():
    return with_face(small_heads())


@pytest.fixture(scope="module")
def models(heads):
    return {name: train_semantic(heads, **training_options(kind=kind))[0] for name, kind in (("fit", "gradient_fit"), ("linear", "displacement_pca"))}


def test_the_worst_expressions_are_played_worst_first(models, heads):
    test = heads.select("test")
    clip = retargeting_clip(models, test, **OPTIONS)
    assert [(head.name, head.role) for head in clip.heads] == [("source", "source"), ("fit", "own"), ("linear", "baseline"), ("truth", "truth")]
    assert {head.vertices.shape for head in clip.heads} == {(25, *test.topology.template.shape)}
    source, _, target = clip.title.split(":")[0].split()
    person, other = test.subject_ids.index(source), test.subject_ids.index(target)
    assert person != other and "the 3 of 10 unseen expressions that fit misses most" in clip.title

    def meshes(subject):
        return {test.expression_ids[row]: test.expressive[row] for row in np.flatnonzero(test.expression_subject == subject)}

    played, true = meshes(person), meshes(other)
    face = test.topology.regions["face"] > 0.5
    code = {name: models["fit"].encode(test.topology.mesh(test.neutrals[person]), mesh[None]) for name, mesh in played.items()}
    posed = {name: models["fit"].bind(test.topology.mesh(test.neutrals[other])).pose(one)[0] for name, one in code.items()}
    errors = {name: np.linalg.norm(posed[name] - true[name], axis=-1)[face].mean() for name in played}
    assert [frame for frame, _ in clip.marks] == [4, 12, 20]
    assert [name for _, name in clip.marks] == sorted(errors, key=errors.get, reverse=True)[:3]
    for frame, name in clip.marks:
        shown = {head.name: head.vertices[frame] for head in clip.heads}
        np.testing.assert_allclose(shown["source"], played[name], atol=1e-4)
        np.testing.assert_allclose(shown["truth"], true[name], atol=1e-4)
        np.testing.assert_allclose(shown["fit"], posed[name], atol=1e-3)
    np.testing.assert_allclose(clip.heads[3].vertices[0], test.neutrals[other], atol=1e-4)


def test_the_seed_decides_who_is_shown(models, heads):
    test = heads.select("test")
    titles = {seed: retargeting_clip(models, test, **OPTIONS | {"seed": seed}).title for seed in range(6)}
    assert len(set(titles.values())) > 1 and titles[2] == retargeting_clip(models, test, **OPTIONS | {"seed": 2}).title


def test_people_who_share_no_expression_are_their_own_targets(models):
    test = with_face(small_heads(paired=False)).select("test")
    clip = retargeting_clip(models, test, **OPTIONS)
    source, _, target = clip.title.split(":")[0].split()
    assert source == target
    np.testing.assert_array_equal(clip.heads[0].vertices, clip.heads[-1].vertices)


def test_a_capture_is_shown_with_its_film_and_its_worst_expression_first(heads):
    test = heads.select("test")
    rows = np.flatnonzero(test.expression_subject == 0)[:3]
    truth = range_of_motion(test.neutrals[0], test.expressive[rows], frames_per_expression=8)
    captured = truth.astype(np.float32)
    captured[4] += 1.0
    captured[12] += 3.0
    film = np.zeros((25, 16, 16, 3), np.uint8)
    clip = capture_clip(test, captured, film, frames_per_expression=8, fps=25.0)
    assert clip.marks == tuple((frame, test.expression_ids[rows[place]]) for frame, place in ((12, 1), (4, 0), (20, 2)))
    shown = {head.role: head.vertices for head in clip.heads}
    assert shown["own"] is captured and clip.film is film and clip.title.startswith(f"{test.subject_ids[0]}, 3 unseen expressions")
    np.testing.assert_array_equal(shown["truth"], truth)
    np.testing.assert_array_equal(shown["baseline"], np.repeat(test.neutrals[:1], 25, axis=0))
    with pytest.raises(ValueError, match=r"24 captured frames, but 2 expressions of test-\d+ at 8 frames each make 17. Was the benchmark run with other"):
        capture_clip(test, captured[:24], film[:24], frames_per_expression=8, fps=25.0)


def test_nothing_to_show_is_refused(models, heads):
    test = heads.select("test")
    with pytest.raises(ValueError, match="at least one model and one expression, got 0 models and 3 expressions"):
        retargeting_clip({}, test, **OPTIONS)
    bare = test.take([0], without=range(len(test.expressive)))
    with pytest.raises(ValueError, match="has no expressive mesh. Leave the person out or give at least one"):
        retargeting_clip(models, bare, **OPTIONS)
