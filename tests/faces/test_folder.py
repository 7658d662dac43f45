"""Scans in folders: good ones are read, bad files are named and left out, the rest goes on."""
from dataclasses import replace

import numpy as np
import pytest

from serep.faces import SubjectPlan, open_head_model
from serep.geometry import Mesh, write_mesh

PLAN = SubjectPlan(
    train_people=2, val_people=1, test_people=2, expressions_per_person=1, test_expressions=1, units_min=1, units_max=1,
    weight_min=0.0, weight_max=1.0, symmetric_share=0.0,
)  # fmt: skip
NAMES = ("anna", "ben", "cleo", "dora", "emil")


@pytest.fixture
def scans(tmp_path, head_model):
    """Five people with the built-in faces: a neutral and two expressions each, in mm."""
    weights = np.zeros((2, len(head_model.expression_names)))
    weights[0, head_model.expression_names.index("jawOpen")] = 1
    weights[1, head_model.expression_names.index("mouthSmile_L")] = 1
    for number, name in enumerate(NAMES):
        neutral = head_model.draw_neutral(rng=np.random.default_rng(number))
        shift = np.array([5.0, 0, 0]) * number  # where the scanner stood
        write_mesh(tmp_path / name / "neutral.obj", head_model.topology.mesh(neutral + shift))
        for stem, delta in zip(("open", "smile"), np.tensordot(weights, head_model.expression_units, axes=1), strict=True):
            write_mesh(tmp_path / name / f"{stem}.ply", head_model.topology.mesh(neutral + delta + shift))
    return tmp_path


def everybody(folder, **options) -> dict[str, object]:
    return {subject.subject_id: subject for subject in open_head_model("folder", folder, **options).subjects(PLAN, seed=0)}


def test_good_scans(scans, topology):
    model = open_head_model("folder", scans)
    assert model.topology.same_faces(topology) and model.expression_names == ()
    people = list(model.subjects(PLAN, seed=0))
    assert [(person.subject_id, person.split) for person in people] == list(zip(NAMES, ("train", "train", "val", "test", "test"), strict=True))
    assert people[0].expression_ids == ("anna-open", "anna-smile")
    assert people[3].expression_ids == people[4].expression_ids == ("test-open", "test-smile")
    assert people[0].source_files == ("anna/neutral.obj", "anna/open.ply", "anna/smile.ply") and people[0].weights.shape == (2, 0)
    assert all(person.problems == () and person.expressive.shape == (2, len(topology.template), 3) for person in people)


def test_units_and_axes(scans, topology):
    reference = everybody(scans)["ben"].neutral
    for name in NAMES:
        for file in list((scans / name).iterdir()):
            from serep.geometry import read_mesh

            mesh = read_mesh(file)
            write_mesh(file, mesh.with_vertices(mesh.vertices[:, [0, 2, 1]] * [0.1, -0.1, 0.1]))  # cm, z up, −y in front
    assert np.abs(everybody(scans, unit="cm", up="z", front="-y")["ben"].neutral - reference).max() < 1e-3


def test_bad_files_are_left_out_with_the_reason(scans, topology):
    (scans / "anna" / "open.ply").write_bytes(b"ply\nnonsense")
    write_mesh(scans / "ben" / "open.ply", Mesh(topology.template[:-1], topology.faces[(topology.faces < len(topology.template) - 1).all(axis=1)]))
    write_mesh(scans / "cleo" / "smile.ply", Mesh(topology.template, topology.faces[:, [1, 2, 0]]))
    lines = (scans / "emil" / "neutral.obj").read_text().splitlines()
    (scans / "emil" / "open.obj").write_text("\n".join(["v nan 0 0", *lines[1:]]))
    people = everybody(scans)
    reasons = {name: person.problems for name, person in people.items()}
    assert reasons["anna"][0][0] == "anna/open.ply" and "cannot be read" in reasons["anna"][0][1]
    assert people["anna"].expression_ids == ("anna-smile",)
    assert f"has {len(topology.template) - 1} vertices" in reasons["ben"][0][1]
    assert "other faces" in reasons["cleo"][0][1]
    assert {file for file, _ in reasons["emil"]} == {"emil/open.ply", "emil/open.obj"}  # two files of one name, and the first is broken
    assert people["dora"].expression_ids == people["emil"].expression_ids == ("test-smile",)  # what both have


def test_person_without_neutral_goes_to_the_problems(scans):
    (scans / "ben" / "neutral.obj").unlink()
    with pytest.raises(ValueError, match=r"4 people have a usable neutral.*add scans"):
        list(open_head_model("folder", scans).subjects(SubjectPlan(1, 2, 2, 1, 1, 1, 1, 0.0, 1.0, 0.0), seed=0))
    people = everybody(scans)
    assert people["ben"].neutral.shape == (0, 3) and people["ben"].problems == (("ben/neutral", "there is no neutral.obj or neutral.ply"),)
    assert people["anna"].split == "train" and people["cleo"].split == "val"


def test_drawn_people_never_mix_held_out_ones(scans, rng):
    with pytest.raises(RuntimeError, match="held_out"):
        open_head_model("folder", scans).draw_neutral(rng=rng)
    model = open_head_model("folder", scans, held_out=3)
    neutrals = [everybody(scans)[name].neutral for name in NAMES[:2]]
    drawn = model.draw_neutral(rng=np.random.default_rng(3))
    again = model.draw_neutral(rng=np.random.default_rng(3))
    assert np.array_equal(drawn, again) and not np.array_equal(drawn, model.draw_neutral(rng=np.random.default_rng(4)))
    from serep.geometry import apply_rigid, rigid_align

    shapes = [apply_rigid(vertices, *rigid_align(vertices, drawn)) - drawn for vertices in (neutral.astype(float) for neutral in neutrals)]
    first, second = (np.linalg.norm(shape) for shape in shapes)
    between = np.linalg.norm(shapes[0] - shapes[1])
    assert first + second == pytest.approx(between, rel=0.02)  # the drawn person lies on the line between the two
    with pytest.raises(ValueError, match="held_out is 5"):
        open_head_model("folder", scans, held_out=5)
    with pytest.raises(ValueError, match="held_out=1"):
        list(open_head_model("folder", scans, held_out=1).subjects(PLAN, seed=0))


def test_nothing_in_common_or_nobody_there(scans, tmp_path_factory):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        open_head_model("folder", scans / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds nobody"):
        open_head_model("folder", tmp_path_factory.mktemp("empty"))
    (scans / "dora" / "open.ply").unlink()
    (scans / "emil" / "smile.ply").unlink()
    with pytest.raises(ValueError, match="dora, emil have no expression in common"):
        everybody(scans)
    for name in NAMES:
        (scans / name / "neutral.obj").write_text("v 0 0 0\n")
    with pytest.raises(ValueError, match="nobody of the 5 people"):
        open_head_model("folder", scans)


def test_own_topology_needs_landmarks(tmp_path, head_model):
    """Without the teeth and the tongue the faces are nobody's: landmarks.npz says where things are."""
    topology = head_model.topology
    skin = (topology.faces < 4200).all(axis=1)
    mesh = Mesh(topology.template[:4200], topology.faces[skin])
    for name in ("anna", "ben"):
        write_mesh(tmp_path / name / "neutral.obj", mesh)
        write_mesh(tmp_path / name / "smile.obj", mesh.with_vertices(mesh.vertices + head_model.expression_units[45][:4200]))
    with pytest.raises(FileNotFoundError, match=r"landmarks\.npz"):
        open_head_model("folder", tmp_path)
    marks = {"ids": topology.landmark_ids, "triangles": topology.landmark_triangles, "barycentric": topology.landmark_barycentric}
    np.savez(tmp_path / "landmarks.npz", **{key: array[:-1] for key, array in marks.items()})
    with pytest.raises(ValueError, match="lacks the landmarks"):
        open_head_model("folder", tmp_path)
    np.savez(tmp_path / "landmarks.npz", **marks)
    own = open_head_model("folder", tmp_path).topology
    assert np.allclose(own.landmarks(own.template), topology.landmarks(topology.template), atol=1e-4)
    assert own.regions["mouth"].any() and not own.regions["brow_left"].any() and own.mirror is None and len(own.fixed) == 300
    np.savez(tmp_path / "landmarks.npz", ids=marks["ids"])
    with pytest.raises(ValueError, match="triangles"):
        open_head_model("folder", tmp_path)


def test_scans_leave_nothing_to_choose(scans):
    model = open_head_model("folder", scans, train_population="all", test_population="all", expression_transfer="deformation")
    assert model.populations == ("all",) and not model.shares_frame
    with pytest.raises(ValueError, match="train_population is 'female', but the heads of folder have only all"):
        open_head_model("folder", scans, train_population="female")
    with pytest.raises(ValueError, match="scans bring their own expressions"):
        open_head_model("folder", scans, expression_transfer="cloning")
    with pytest.raises(ValueError, match="nobody knows the units of scans"):
        list(model.subjects(replace(PLAN, held_out_units=("jawOpen",)), seed=0))
    assert len(list(model.subjects(replace(PLAN, blink_share=0.12), seed=0))) == 5
