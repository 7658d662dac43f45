"""Bad meshes go to the quarantine with their reason; what remains is aligned and carries areas."""
import dataclasses
import re

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from serep.data.heads import read_heads, write_heads
from serep.data.preprocess import preprocess
from serep.geometry.mesh import face_areas
from serep.geometry.rigid import apply_rigid


def spoiled(heads, *, neutral=None, expressive=None, change):
    """The heads with one mesh changed in place."""
    changed = dataclasses.replace(heads, neutrals=heads.neutrals.copy(), expressive=heads.expressive.copy())
    mesh = changed.neutrals[neutral] if neutral is not None else changed.expressive[expressive]
    mesh[...] = change(mesh)
    return changed


def put_nan(vertices):
    return np.where(np.arange(len(vertices))[:, None] == 5, np.nan, vertices)


def collapse(vertices):
    """One of the ball's triangles becomes a point."""
    vertices = vertices.copy()
    vertices[[0, 137]] = vertices[53]
    return vertices


def spike(vertices):
    vertices = vertices.copy()
    vertices[vertices[:, 2].argmax(), 2] += 150
    return vertices


def test_sound_heads_keep_everybody_and_gain_areas(tiny_heads, tmp_path):
    sound, quarantine = preprocess(tiny_heads, max_quarantine_share=0.0, left_out=[])
    assert quarantine == [] and sound.subject_ids == tiny_heads.subject_ids and sound.expression_ids == tiny_heads.expression_ids
    for person in range(5):
        expected = face_areas(sound.neutrals[person].astype(np.float64), sound.topology.faces)
        np.testing.assert_allclose(sound.face_areas[person], expected, rtol=1e-5)
        np.testing.assert_allclose(sound.vertex_areas[person].sum(), expected.sum(), rtol=1e-5)
    write_heads(tmp_path / "surfaces", sound, quarantine=quarantine)
    found = read_heads(tmp_path / "surfaces")
    np.testing.assert_array_equal(found.vertex_areas, sound.vertex_areas)
    np.testing.assert_array_equal(found.face_areas, sound.face_areas)
    assert found.select("val").vertex_areas.shape == (1, 162)


def test_head_motion_is_removed(tiny_heads, rng):
    """Scans where everybody sits elsewhere and every expression turns the head come back as they were."""
    still, _ = preprocess(tiny_heads, max_quarantine_share=0.0, left_out=[])
    moved = dataclasses.replace(tiny_heads, neutrals=tiny_heads.neutrals.copy(), expressive=tiny_heads.expressive.copy())
    for meshes in (moved.neutrals, moved.expressive):
        for row, mesh in enumerate(meshes):
            turn = Rotation.from_rotvec(rng.normal(0, 0.3, 3)).as_matrix()
            meshes[row] = apply_rigid(mesh.astype(np.float64), turn, rng.normal(0, 50, 3))
    found, _ = preprocess(moved, max_quarantine_share=0.0, left_out=[])
    np.testing.assert_allclose(found.neutrals, still.neutrals, atol=2e-3)
    np.testing.assert_allclose(found.expressive, still.expressive, atol=2e-3)
    # ... and an expression does not move the vertices that expressions leave alone.
    fixed = found.topology.fixed
    np.testing.assert_allclose(found.expressive[:, fixed], found.neutrals[found.expression_subject][:, fixed], atol=2e-3)


@pytest.mark.parametrize(("change", "reason"), [
    (put_nan, "1 vertices are not finite (first: vertex 5)"),
    (collapse, "faces have no area"),
    (lambda vertices: vertices / 10, "it is probably in centimetres"),
    (lambda vertices: vertices / 1000, "it is probably in metres"),
    (spike, "registration failed"),
])
def test_a_bad_expressive_is_left_out_alone(tiny_heads, change, reason):
    sound, quarantine = preprocess(spoiled(tiny_heads, expressive=1, change=change), max_quarantine_share=0.2, left_out=[])
    assert len(quarantine) == 1 and quarantine[0][:2] == ("ann", "b") and reason in quarantine[0][2]
    assert sound.subject_ids == tiny_heads.subject_ids and sound.expression_ids == ("a", "c", "d", "e", "val-0", "test-0")
    assert np.isfinite(sound.expressive).all()


@pytest.mark.parametrize(("change", "reason"), [
    (put_nan, "not finite"), (collapse, "faces have no area"), (lambda vertices: vertices / 10, "probably in centimetres"),
    (lambda vertices: vertices / 1000, "probably in metres"), (lambda vertices: vertices * 40, "mm high, expected 80 to 500"),
])
def test_a_bad_neutral_takes_its_person(tiny_heads, change, reason):
    sound, quarantine = preprocess(spoiled(tiny_heads, neutral=2, change=change), max_quarantine_share=0.3, left_out=[])
    assert len(quarantine) == 1 and quarantine[0][0] == "cy" and reason in quarantine[0][2] and "whole person" in quarantine[0][2]
    assert sound.subject_ids == ("ann", "bo", "di", "ed") and sound.expression_subject.tolist() == [0, 0, 0, 2, 3]


def test_too_many_bad_meshes_stop_the_run_and_are_listed(tiny_heads):
    bad = spoiled(spoiled(tiny_heads, neutral=0, change=put_nan), expressive=4, change=spike)
    with pytest.raises(ValueError, match=re.escape("5 of 12 meshes are unfit (42%, at most 10% may be)")) as stop:
        preprocess(bad, max_quarantine_share=0.1, left_out=[])
    assert "ann : 1 vertices are not finite" in str(stop.value) and "cy e: vertex" in str(stop.value)
    with pytest.raises(ValueError, match="1 of 13 meshes are unfit"):  # what the reader refused counts too
        preprocess(tiny_heads, max_quarantine_share=0.05, left_out=[("ann", "x.obj", "unreadable")])


def test_a_split_may_not_vanish(tiny_heads):
    with pytest.raises(ValueError, match="nobody of the split 'val' is sound"):
        preprocess(spoiled(tiny_heads, neutral=3, change=put_nan), max_quarantine_share=1.0, left_out=[])


def test_the_built_in_heads_are_sound(head_model):
    from serep.data.heads import gather_heads
    from serep.faces import SubjectPlan

    plan = SubjectPlan(train_people=2, val_people=1, test_people=1, expressions_per_person=3, test_expressions=4, units_min=2, units_max=6,
                       weight_min=0.2, weight_max=1.0, symmetric_share=0.6)
    heads, problems = gather_heads(head_model.subjects(plan, seed=0), topology=head_model.topology, expression_names=head_model.expression_names,
                                   provenance={})
    sound, quarantine = preprocess(heads, max_quarantine_share=0.0, left_out=problems)
    assert quarantine == [] and len(sound.expressive) == 2 * 3 + 2 + 4


def test_neutrals_of_a_shared_frame_stay_where_they_are_and_scans_are_aligned(tiny_heads):
    turn = Rotation.from_euler("y", 4, degrees=True).as_matrix()
    turned = dataclasses.replace(
        tiny_heads, neutrals=apply_rigid(tiny_heads.neutrals, turn, np.zeros(3)).astype(np.float32),
        expressive=apply_rigid(tiny_heads.expressive, turn, np.zeros(3)).astype(np.float32))  # fmt: skip
    shared, _ = preprocess(dataclasses.replace(turned, shares_frame=True), max_quarantine_share=0.0, left_out=[])
    np.testing.assert_array_equal(shared.neutrals, turned.neutrals)
    np.testing.assert_allclose(shared.expressive, turned.expressive, atol=1e-4)
    scans, _ = preprocess(dataclasses.replace(turned, shares_frame=False), max_quarantine_share=0.0, left_out=[])
    assert np.abs(scans.neutrals - turned.neutrals).max() > 1
