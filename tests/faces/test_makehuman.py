"""The built-in heads: small, free, sound, and their units mean what their names say."""
import numpy as np
import pytest

from serep.faces import BUILT_IN_HEADS, PARTS, open_head_model
from serep.faces.mirror import ACROSS
from serep.geometry import mesh_problems

PEOPLE = 6


@pytest.fixture(scope="module")
def people(head_model):
    """Neutrals of a few random people."""
    return [head_model.draw_neutral(rng=np.random.default_rng([7, person])) for person in range(PEOPLE)]


def unit_weights(head_model, *names: str) -> np.ndarray:
    """One row for each unit at full weight."""
    return np.stack([np.array(head_model.expression_names) == name for name in names]).astype(float)


def opening(head_model, vertices: np.ndarray, upper: int, lower: int) -> np.ndarray:
    marks = head_model.topology.landmarks(vertices)[..., head_model.topology.landmark_rows((upper, lower)), :]
    return np.linalg.norm(marks[..., 0, :] - marks[..., 1, :], axis=-1)


def test_asset_is_small_free_and_without_pickles(head_model):
    assert BUILT_IN_HEADS.stat().st_size <= 2_000_000
    assert head_model.licence.startswith("CC0") and head_model.provenance
    with np.load(BUILT_IN_HEADS, allow_pickle=False) as arrays:
        assert all(arrays[name].dtype != object for name in arrays.files)


def test_file_that_is_not_the_asset_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="pack_makehuman"):
        open_head_model("makehuman", tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", faces=np.zeros(3))
    with pytest.raises(ValueError, match="identity_q"):
        open_head_model("makehuman", tmp_path / "other.npz")
    with pytest.raises(ValueError, match="makehuman, ict, folder"):
        open_head_model("blender", BUILT_IN_HEADS)


def test_heads_are_sound_meshes_that_look_out(head_model, people):
    topology = head_model.topology
    for vertices in (topology.template, *people):
        assert mesh_problems(topology.mesh(vertices)) == []
    corners = topology.template[topology.faces]
    volumes = np.einsum("fa,fa->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    for part in range(len(PARTS)):
        mine = (topology.parts[topology.faces] == part).all(axis=1)
        assert mine.any(), PARTS[part]
        if PARTS[part].startswith("eye"):
            assert 5_000 < volumes[mine].sum() < 30_000  # mm³ of a ball of 11 to 19 mm
    assert volumes.sum() > 3e6


def test_axes_and_size(head_model):
    marks = head_model.topology.landmarks(head_model.topology.template)
    at = {int(one): point for one, point in zip(head_model.topology.landmark_ids, marks, strict=True)}
    assert at[263][0] > 35 and at[33][0] < -35  # 263 is the subject's left eye, +x
    assert at[263][1] > at[291][1] + 50  # eyes above the mouth
    assert at[4][2] > at[33][2] + 20  # the nose's tip in front of the eyes


def test_people_differ_as_adults_do(head_model):
    neutrals = np.stack([head_model.draw_neutral(rng=np.random.default_rng([1, person])) for person in range(60)])
    marks = head_model.topology.landmarks(neutrals)
    left, right = (marks[:, head_model.topology.landmark_rows((one,))[0]] for one in (263, 33))
    width = np.linalg.norm(left - right, axis=1)
    assert 80 < width.mean() < 95 and 2 < width.std() < 8  # outer eye corners, mm


def test_mirror_pairs_vertices_faces_and_landmarks(head_model):
    topology = head_model.topology
    assert np.array_equal(topology.mirror[topology.mirror], np.arange(len(topology.mirror)))
    assert np.abs(topology.template[topology.mirror] * ACROSS - topology.template).max() < 0.011
    faces = {tuple(sorted(face)) for face in topology.faces.tolist()}
    mirrored = {tuple(sorted(face)) for face in topology.mirror[topology.faces].tolist()}
    assert faces == mirrored
    swapped = topology.parts[topology.mirror].astype(int)
    assert np.array_equal(np.array([0, 2, 1, 3, 4])[swapped], topology.parts)


def test_landmarks_are_symmetric(head_model):
    from serep.faces.landmark_ids import mirrored_ids

    topology = head_model.topology
    marks = topology.landmarks(topology.template)
    other = marks[topology.landmark_rows(tuple(mirrored_ids(topology.landmark_ids).tolist()))]
    assert np.linalg.norm(other * ACROSS - marks, axis=1).max() < 1.0


def test_left_and_right_units_mirror_each_other(head_model):
    names, mirror = head_model.expression_names, head_model.topology.mirror
    for index, name in enumerate(names):
        if name.endswith("_L") and not name.startswith("eyeLook"):
            left, right = head_model.expression_units[index], head_model.expression_units[names.index(f"{name[:-2]}_R")]
            assert np.abs(right[mirror] * ACROSS - left).max() < 0.02, name
            moved = np.linalg.norm(left, axis=1)
            assert moved @ head_model.topology.template[:, 0] > 0, name  # mostly at the subject's left, +x


def test_blink_closes_its_own_eye(head_model, people):
    weights = unit_weights(head_model, "eyeBlink_L", "eyeBlink_R")
    for neutral in people:
        left, right = head_model.expressive(neutral, weights)
        for shut, other, (upper, lower) in ((left, right, (386, 374)), (right, left, (159, 145))):
            before = opening(head_model, neutral, upper, lower)
            assert opening(head_model, shut, upper, lower) < 0.65 * before
            assert opening(head_model, other, upper, lower) == pytest.approx(before, abs=0.5)


def test_jaw_opens_the_lips_and_takes_teeth_and_tongue_along(head_model, people):
    topology = head_model.topology
    teeth = topology.parts == PARTS.index("teeth")
    middle = topology.template[teeth, 1].mean()
    lower, upper = teeth & (topology.template[:, 1] < middle - 5), teeth & (topology.template[:, 1] > middle + 5)
    for neutral in people:
        opened = head_model.expressive(neutral, unit_weights(head_model, "jawOpen"))[0]
        assert opening(head_model, opened, 13, 14) > opening(head_model, neutral, 13, 14) + 20
        assert (neutral - opened)[lower, 1].mean() > 12
        assert np.abs(neutral - opened)[upper].max() < 0.5


@pytest.mark.parametrize(("unit", "axis", "sign"), [("jawLeft", 0, 1), ("jawRight", 0, -1), ("jawForward", 2, 1), ("jawOpen", 1, -1)])
def test_jaw_goes_where_its_name_says(head_model, unit, axis, sign):
    chin = np.argmin(np.where(head_model.topology.regions["mouth"] > 0, head_model.topology.template[:, 1], np.inf))
    assert sign * head_model.expression_units[head_model.expression_names.index(unit)][chin, axis] > 3


def test_expressions_do_not_break_the_mesh(head_model, people):
    from serep.faces import SubjectPlan

    plan = SubjectPlan(1, 0, 0, 10, 1, 2, 6, 0.2, 1.0, 0.6)
    weights = head_model.draw_weights(10, plan, rng=np.random.default_rng(3))
    for neutral in people[:3]:
        for vertices in head_model.expressive(neutral, weights):
            assert mesh_problems(head_model.topology.mesh(vertices)) == []
            assert np.linalg.norm(vertices - neutral, axis=1).max() < 60
