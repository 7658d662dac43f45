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


@pytest.fixture(scope="module")
def sculpted():
    return open_head_model("makehuman", BUILT_IN_HEADS, expression_transfer="sculpted")


def test_populations_look_like_their_names(head_model):
    assert head_model.populations == ("all", "african", "asian", "caucasian", "female", "male", "young", "old") and head_model.shares_frame

    def mean_face(name: str) -> dict[int, np.ndarray]:
        model = open_head_model("makehuman", BUILT_IN_HEADS, train_population=name)
        rng = np.random.default_rng(8)
        marks = np.mean([model.topology.landmarks(model.draw_neutral(rng=rng)) for _ in range(40)], axis=0)
        return {int(one): point for one, point in zip(model.topology.landmark_ids, marks, strict=True)}

    faces = {name: mean_face(name) for name in head_model.populations}
    nose = {name: np.linalg.norm(face[129] - face[358]) for name, face in faces.items()}  # wing to wing
    lips = {name: np.linalg.norm(face[0] - face[17]) for name, face in faces.items()}
    assert nose["african"] > nose["asian"] and nose["african"] > nose["caucasian"] + 3 and lips["african"] > lips["caucasian"] + 3
    spread = np.std([list(face.values()) for face in faces.values()], axis=0)
    assert 0.3 < spread.max() < 10  # groups differ, and are all people


def test_sculpted_units_are_makehuman_s_own(sculpted, head_model):
    names = sculpted.expression_names
    assert len(names) == 34 and {"eye-closure_L", "eye-closure_R", "mouth-open", "nose-elevation_R"} <= set(names)
    assert sculpted.populations == ("all", "african", "asian", "caucasian")
    assert sculpted.topology.same_faces(head_model.topology) and np.abs(sculpted.expression_units[:, sculpted.topology.fixed]).max() == 0
    mirror = sculpted.topology.mirror
    for index, name in enumerate(names):
        other = names.index(f"{name[:-1]}{'LR'[name.endswith('L')]}") if name.endswith(("_L", "_R")) else index
        assert np.abs(sculpted.expression_units[other][mirror] * ACROSS - sculpted.expression_units[index]).max() < 0.02, name
    neutral = sculpted.draw_neutral(rng=np.random.default_rng(2))
    shut, opened = sculpted.expressive(neutral, unit_weights(sculpted, "eye-closure_L", "mouth-open"))
    assert opening(sculpted, shut, 386, 374) < 0.5 * opening(sculpted, neutral, 386, 374)
    assert opening(sculpted, shut, 159, 145) == pytest.approx(opening(sculpted, neutral, 159, 145))
    assert opening(sculpted, opened, 13, 14) > opening(sculpted, neutral, 13, 14) + 20
    inside = (sculpted.topology.parts == PARTS.index("teeth")) | (sculpted.topology.parts == PARTS.index("mouth_inside"))
    assert (neutral - opened)[inside, 1].max() > 20  # teeth and tongue go along


def test_sculpted_expressions_mix_as_the_person_s_origins_do(sculpted):
    weights = unit_weights(sculpted, "mouth-corner-puller", "eyebrows-extern-up_L")
    neutral, origins = sculpted.draw_person("all", rng=np.random.default_rng(0))
    assert origins.shape == (3,) and origins.sum() == pytest.approx(1)
    pure = np.stack([sculpted.expressive(neutral, weights, origins=np.eye(3)[place]) for place in range(3)])
    assert np.linalg.norm(pure[0] - pure[2], axis=-1).max() > 1  # mm
    np.testing.assert_allclose(sculpted.expressive(neutral, weights, origins=origins), np.tensordot(origins, pure, axes=1), atol=1e-4)
    np.testing.assert_allclose(sculpted.expressive(neutral, weights), pure.mean(axis=0), atol=1e-4)
    _, asian = sculpted.draw_person("asian", rng=np.random.default_rng(0))
    assert asian.tolist() == [0, 1, 0]


def test_sculpted_people_are_reproducible_and_sound(sculpted):
    from serep.faces import SubjectPlan

    plan = SubjectPlan(2, 1, 2, 3, 3, 2, 6, 0.2, 1.0, 0.6, held_out_units=("mouth-open",), blink_share=0.3)
    one, again = (list(sculpted.subjects(plan, seed=1)) for _ in range(2))
    for person, same in zip(one, again, strict=True):
        assert np.array_equal(person.neutral, same.neutral) and np.array_equal(person.expressive, same.expressive)
        assert person.weights.shape[1] == 34
        assert person.weights[:, sculpted.expression_names.index("mouth-open")].astype(bool).all() == (person.split == "test")
        for vertices in (person.neutral, *person.expressive):
            assert mesh_problems(sculpted.topology.mesh(vertices)) == []
