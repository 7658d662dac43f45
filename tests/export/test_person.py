from pathlib import Path

import numpy as np
import pytest
from capture_stub import write_capture_model
from scipy.spatial.transform import Rotation

from serep.export.person import Person, check_neutral
from serep.geometry import Mesh, apply_rigid
from serep.models.semantic import SemanticModel


@pytest.fixture(scope="module")
def model(tmp_path_factory, topology):
    folder = tmp_path_factory.mktemp("model")
    write_capture_model(folder, topology)
    return SemanticModel.load(folder / "semantic")


def mouths(topology, *moves):
    """Expressive meshes of the template whose mouth moves, mm."""
    return topology.template + topology.regions["mouth"][:, None] * np.array(moves, float)[:, None, :]


def test_sound_neutrals_pass_with_their_holes(model, topology):
    mesh = topology.mesh(topology.template)
    check_neutral(mesh, Path("a.obj"), unit="mm")
    assert Person.meet(model, mesh, Path("a.obj")).notes == ()


@pytest.mark.parametrize(("change", "words"), [("not finite", "1 vertices are not finite .first: vertex 7"), ("no faces", "it has no faces")])
def test_what_is_no_mesh_is_refused(topology, change, words):
    vertices = topology.template.copy()
    vertices[7] = np.nan if change == "not finite" else 0.0
    mesh = Mesh(vertices, topology.faces if change == "not finite" else topology.faces[:0])
    with pytest.raises(ValueError, match=rf"^anna\.obj cannot be used as a neutral: {words}"):
        check_neutral(mesh, Path("anna.obj"), unit="mm")


@pytest.mark.parametrize(
    ("size", "unit", "words"),
    [
        (0.001, "mm", "0.268 mm high when it is read as mm: it is probably in m; give --unit m"),
        (0.1, "mm", "26.8 mm high when it is read as mm: it is probably in cm; give --unit cm"),
        (1000.0, "m", "it is probably in mm; give --unit mm"),
        (30.0, "mm", "no head is; check --unit and --up"),
    ],
)
def test_wrong_units_come_with_the_remedy(topology, size, unit, words):
    with pytest.raises(ValueError, match=words):
        check_neutral(topology.mesh(size * topology.template), Path("anna.obj"), unit=unit)


def broken(topology, what):
    vertices, faces = topology.template.copy(), topology.faces.copy()
    lips = np.flatnonzero((topology.regions["lips"] > 0.5)[faces].all(axis=1))
    if what == "no area":
        vertices[faces[5, 1]] = vertices[faces[5, 0]]
    elif what == "mirrored":
        vertices = vertices * [-1, 1, 1]
    elif what == "lips flipped":
        faces[lips] = faces[lips][:, ::-1]
    elif what == "all flipped":
        faces = faces[:, ::-1]
    elif what == "fin":
        vertices = np.concatenate([vertices, [[0.0, 0.0, 199.0]]])
        faces = np.concatenate([faces, [[*faces[lips[0], :2], len(vertices) - 1]]])
    return Mesh(vertices, faces)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("no area", "cannot be used as a neutral: .* faces have no area"),
        ("mirrored", "cannot be used as a neutral: faces look inwards, or it is a mirror image"),
        ("lips flipped", "winding of the neutral's face is inconsistent"),
        ("all flipped", "inwards"),
        ("fin", "belong to more than two faces"),
    ],
)
def test_unsound_neutrals_are_refused_by_name(model, topology, what, words):
    with pytest.raises(ValueError, match=rf"^anna\.obj.*{words}") as refusal:
        Person.meet(model, broken(topology, what), Path("anna.obj"))
    assert "\n" not in str(refusal.value)


def test_faults_away_from_the_face_are_only_noted(model, topology):
    """Of another topology, as characters with hair and clothes have."""
    back = int(topology.template[:, 2].argmin())
    face = int(np.flatnonzero((topology.faces == back).any(axis=1))[0])
    vertices = np.concatenate([topology.template, [topology.template[back] - [0, 0, 20], [0, 0, 0]]])
    fin = [*topology.faces[face, :2], len(topology.template)]
    person = Person.meet(model, Mesh(vertices, np.concatenate([topology.faces, [fin]])), Path("anna.obj"))
    assert all(note.startswith("anna.obj") for note in person.notes) and "1 vertices belong to no face; left as it is" in person.notes[-2]
    assert any("belong to more than two faces" in note for note in person.notes) and "has a topology of its own" in person.notes[-1]
    assert person.rig.pose(np.zeros((1, 3), np.float32)).shape == (1, len(vertices), 3)


def test_a_turned_head_gives_the_same_codes_and_is_driven_in_its_own_frame(model, topology):
    """15 degrees and half a metre away: codes as for the upright head, and meshes that are the upright ones, moved."""
    expressive = mouths(topology, [0, -6, 0], [2, 0, 4])
    upright = Person.meet(model, topology.mesh(topology.template), Path("a.obj"))
    motion = Rotation.from_rotvec(np.radians([9, 12, 0])).as_matrix(), np.array([100.0, 1700.0, -500.0])
    turned = Person.meet(model, topology.mesh(apply_rigid(topology.template, *motion)), Path("b.obj"))
    codes = upright.encode(expressive)
    np.testing.assert_allclose(turned.encode(apply_rigid(expressive, *motion)), codes, atol=1e-4)
    np.testing.assert_allclose(turned.rig.pose(codes), apply_rigid(upright.rig.pose(codes), *motion), atol=2e-3)
    np.testing.assert_allclose(turned.face_points, upright.face_points, atol=1e-9)
    np.testing.assert_array_equal(turned.rig.neutral.vertices, turned.neutral.vertices)


def test_other_axes_are_refused(model, topology):
    z_up = topology.template @ Rotation.from_rotvec([np.pi / 2, 0, 0]).as_matrix().T
    with pytest.raises(ValueError, match=r"z\.obj is turned by 90 degrees .* give its axes with --up and --front"):
        Person.meet(model, topology.mesh(z_up), Path("z.obj"))


def test_head_motion_between_scans_is_taken_off(model, topology):
    person = Person.meet(model, topology.mesh(topology.template), Path("a.obj"))
    expressive = mouths(topology, [0, -6, 0], [2, 0, 4], [0, 0, 0])
    nods = Rotation.from_rotvec(np.radians([[4, 0, 0], [0, 0, 0], [0, 7, 2]])).as_matrix()
    shifts = np.array([[0, 3, 5.0], [0, 0, 0], [20, 0, 0]])
    back, moved, rest = person.on_neutral(apply_rigid(expressive, nods, shifts))
    np.testing.assert_allclose(back, expressive, atol=1e-9)
    assert moved[0] > 5 and moved[2] > 10 and moved[1] < 1e-9 and rest.max() < 1e-9
    np.testing.assert_allclose(person.encode(back)[2], 0, atol=1e-5)
    remarks = person.frame_remarks(moved, rest, ["one", "two", "three"], Path("a.obj"))
    assert len(remarks) == 1 and remarks[0].startswith("2 of 3 expressive meshes were not in their neutral's frame (by up to ")
    assert person.frame_remarks(moved[1:2], rest[1:2], ["two"], Path("a.obj")) == []


def test_frames_stay_in_single_precision(model, topology):
    person = Person.meet(model, topology.mesh(topology.template), Path("a.obj"))
    frames = np.repeat(mouths(topology, [0, -6, 0]).astype(np.float32), 300, axis=0)  # more than are held in double precision at once
    back, _, _ = person.on_neutral(frames)
    assert back.dtype == np.float32 and person.encode(back).shape == (300, 3)
    np.testing.assert_allclose(back, frames, atol=1e-4)


def test_another_persons_expression_is_refused(model, topology):
    person = Person.meet(model, topology.mesh(topology.template), Path("a.obj"))
    for growth, words in ((1.03, "is it the same person"), (1.15, r"two does not fit its neutral a\.obj: .* differ by")):
        stranger = topology.template * [growth, 1.0, 1.0]
        _, moved, rest = person.on_neutral(np.stack([topology.template, stranger]))
        if growth > 1.1:
            with pytest.raises(ValueError, match=words):
                person.frame_remarks(moved, rest, ["one", "two"], Path("a.obj"))
        else:
            assert words in " ".join(person.frame_remarks(moved, rest, ["one", "two"], Path("a.obj")))


def test_models_without_still_vertices_leave_meshes_alone(rng):
    from dataclasses import replace

    from small_heads import small_topology

    from serep.models.semantic import DisplacementPca

    topology = replace(small_topology(), fixed=np.zeros(0, np.int32))
    person = Person.meet(DisplacementPca(topology, code_size=2), topology.mesh(topology.template), Path("a.obj"))
    expressive = topology.template[None] + rng.standard_normal((2, 1, 3))
    back, moved, rest = person.on_neutral(expressive)
    assert np.array_equal(back, expressive) and not moved.any() and not rest.any()
    assert len(person.face_points) == len(topology.template)  # no region says where the face is
