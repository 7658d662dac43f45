"""What is drawn: labels that are exact, people and expressions as planned, and images that do not depend on their neighbours."""
import dataclasses

import numpy as np
import pytest

from serep.faces.frame import align_neutral
from serep.geometry.camera import Camera, project
from serep.synthesis.codes import CodeTable
from serep.synthesis.scenes import Studio


def code_table(codes: np.ndarray, names: tuple[str, ...]) -> CodeTable:
    return CodeTable(codes, np.arange(len(codes), dtype=np.int32), names, np.zeros((0, codes.shape[1]), np.float32), np.zeros((0, 2), np.int32))


@pytest.fixture(scope="module")
def table() -> CodeTable:
    codes = np.random.default_rng(0).normal(0, 1, (9, 4)).astype(np.float32)
    return code_table(codes, tuple(f"train-{row}" for row in range(9)))


@pytest.fixture(scope="module")
def studio(plan, inputs) -> Studio:
    return Studio(plan, inputs)


@pytest.fixture(scope="module")
def drawn(studio, table):
    return studio.draw(range(8), table)


def cameras(arrays, size_px: int) -> list[Camera]:
    return [Camera(intrinsics.astype(np.float64), motion.astype(np.float64), size_px, size_px)
            for intrinsics, motion in zip(arrays["intrinsics"], arrays["world_to_camera"], strict=True)]


def test_the_code_and_the_camera_give_the_landmarks_back(studio, drawn, plan, table):
    """From the stored numbers alone: bind the person, pose the code, project."""
    for image, camera in enumerate(cameras(drawn.arrays, plan.size_px)):
        rig = studio.model.bind(studio.topology.mesh(studio.cast.call(image // plan.images_per_person, table)))
        vertices = rig.pose(drawn.arrays["codes"][image][None])[0].astype(np.float64)
        expected = project(studio.topology.landmarks(vertices), camera)
        np.testing.assert_allclose(drawn.arrays["landmarks"][image], expected, atol=0.01)


def test_landmarks_lie_on_the_drawn_head(drawn):
    for landmarks, mask in zip(drawn.arrays["landmarks"], drawn.arrays["mask"], strict=True):
        columns, rows = np.floor(landmarks).astype(int).T
        inside = (rows >= 0) & (rows < 64) & (columns >= 0) & (columns < 64)
        assert inside.mean() > 0.9
        assert (mask[rows[inside], columns[inside]] == 255).mean() > 0.9
    assert not drawn.arrays["rgb"][drawn.arrays["mask"] == 0].any()
    assert drawn.arrays["rgb"].std() > 10


def test_people_change_as_planned(drawn, plan):
    assert plan.images_per_person == 2
    assert drawn.arrays["subject"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3] and drawn.subject_ids[2] == "drawn-000001"
    assert len({image.tobytes() for image in drawn.arrays["rgb"]}) == 8
    assert len({code.tobytes() for code in drawn.arrays["codes"]}) > 4


def test_an_image_depends_on_its_number_alone(plan, inputs, studio, drawn, table):
    """Another order, another part that starts later: the same image."""
    alone = studio.draw(range(5, 6), table)
    later = dataclasses.replace(plan, part="train-1", first_image=4)
    studio_of_part = Studio(later, inputs)
    shifted = studio_of_part.draw(range(1, 2), table)
    for name, values in drawn.arrays.items():
        np.testing.assert_array_equal(alone.arrays[name][0], values[5], err_msg=name)
        np.testing.assert_array_equal(shifted.arrays[name][0], values[5], err_msg=name)


def test_another_seed_or_split_draws_other_people(plan, inputs, studio, table, drawn):
    other = Studio(dataclasses.replace(plan, seed=6), inputs)
    assert np.abs(other.cast.call(0, table) - studio.cast.call(0, table)).max() > 1
    assert not np.array_equal(other.draw(range(1), table).arrays["rgb"][0], drawn.arrays["rgb"][0])


@pytest.mark.parametrize("shares_frame", [True, False])
def test_drawn_people_stand_in_the_frame_of_the_training_people(plan, inputs, table, shares_frame, monkeypatch):
    """People who share a frame are left in it, others are laid onto the template's face; a turned source shows the difference."""
    studio = Studio(plan, inputs)
    turn, drawn = turned_by(25.0), []
    draw = studio.cast.head_model.draw_neutral

    def draw_turned(*, rng: np.random.Generator) -> np.ndarray:
        drawn.append(draw(rng=rng) @ turn.T)
        return drawn[-1]

    monkeypatch.setattr(studio.cast.head_model, "draw_neutral", draw_turned, raising=False)
    monkeypatch.setattr(studio.cast.head_model, "shares_frame", shares_frame, raising=False)
    neutral = studio.cast.call(0, table)
    expected = drawn[-1] if shares_frame else align_neutral(drawn[-1], studio.topology)
    np.testing.assert_allclose(neutral, expected, atol=1e-9)
    assert (np.abs(neutral - studio.topology.template).mean() < 8) is not shares_frame


def turned_by(degrees: float) -> np.ndarray:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])


def test_drawn_people_are_not_the_training_people(studio, heads, table):
    """Equal seeds (the heads' and the images') must not give equal people."""
    for visit in range(3):
        neutral = studio.cast.call(visit, table)
        assert (np.linalg.norm(heads.neutrals - neutral, axis=-1).mean(axis=1) > 0.5).all()


@pytest.mark.parametrize("split", ["val", "test"])
def test_held_out_images_show_true_meshes_with_their_own_codes(plan, inputs, heads, split, table):
    held_out = dataclasses.replace(plan, part=f"{split}-0", split=split)
    studio = Studio(held_out, inputs)
    drawn = studio.draw(range(12), table)
    people = [row for row, name in enumerate(heads.subject_splits) if name == split]
    assert set(drawn.arrays["subject"].tolist()) == set(people)
    for image, camera in enumerate(cameras(drawn.arrays, plan.size_px)):
        person, row = int(drawn.arrays["subject"][image]), int(drawn.arrays["expression"][image])
        assert heads.expression_subject[row] == person
        assert (drawn.subject_ids[image], drawn.expression_ids[image]) == (heads.subject_ids[person], heads.expression_ids[row])
        code = studio.model.encode(heads.topology.mesh(heads.neutrals[person].astype(np.float64)), heads.expressive[row][None])[0]
        np.testing.assert_allclose(drawn.arrays["codes"][image], code, atol=1e-5)
        landmarks = heads.topology.landmarks(heads.expressive[row].astype(np.float64))
        np.testing.assert_allclose(drawn.arrays["landmarks"][image], project(landmarks, camera), atol=0.01)
    own = {row for row, person in enumerate(heads.expression_subject) if person in people}
    assert set(drawn.arrays["expression"].tolist()) == own  # twelve images are enough to show every mesh


def test_heads_of_another_topology_are_refused(plan, inputs, tmp_path, head_model):
    from serep.models.semantic import DisplacementPca

    turned = dataclasses.replace(head_model.topology, name="turned", faces=head_model.topology.faces[::-1])
    model = DisplacementPca(turned, code_size=2)
    model.save(tmp_path / "semantic")
    foreign = dataclasses.replace(inputs, semantic_model=tmp_path / "semantic")
    for split in ("train", "val"):
        with pytest.raises(ValueError, match="the semantic model knows the topology 'turned'"):
            Studio(dataclasses.replace(plan, split=split), foreign)


def test_a_split_without_people_is_refused(plan, inputs, tmp_path, heads):
    from serep.data.heads import write_heads

    write_heads(tmp_path / "surfaces", heads.select("train"), quarantine=[])
    with pytest.raises(ValueError, match="nobody of the split 'test'"):
        Studio(dataclasses.replace(plan, split="test"), dataclasses.replace(inputs, heads=tmp_path / "surfaces"))


def test_heads_without_eyes_and_mouth_are_drawn_with_them(plan, tmp_path, shared_data):
    from serep.faces import open_head_model
    from serep.models.semantic import DisplacementPca
    from serep.synthesis.plan import PartInputs

    source = shared_data / "ict"
    DisplacementPca(open_head_model("ict", source).topology, code_size=2).save(tmp_path / "semantic")
    studio = Studio(plan, PartInputs(heads=tmp_path, semantic_model=tmp_path / "semantic", head_source="ict", head_path=source))
    drawn = studio.draw(range(2), code_table(np.zeros((1, 2), np.float32), ("rest",)))
    assert len(studio.portraits.drawn.template) > len(studio.topology.template)
    assert drawn.arrays["landmarks"].shape[1] == len(studio.topology.landmark_ids) and drawn.arrays["rgb"].std() > 10
