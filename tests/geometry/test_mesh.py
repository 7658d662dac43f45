import jaxtyping
import numpy as np
import pytest
from mesh_shapes import sphere

from serep.geometry import Mesh, face_areas, face_normals, mesh_problems, vertex_areas, vertex_normals


def test_mesh_converts_and_keeps_faces():
    mesh = Mesh(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]], np.int64))
    assert mesh.vertices.dtype == np.float64 and mesh.faces.dtype == np.int32
    moved = mesh.with_vertices(np.ones((3, 3)))
    assert moved.vertices.sum() == 9 and moved.faces is mesh.faces


@pytest.mark.parametrize(
    ("vertices", "faces", "words"),
    [
        (np.zeros((3, 2)), np.array([[0, 1, 2]]), "shape"),
        (np.zeros((3, 3)), np.array([[0, 1, 2, 0]]), "triangulate"),
        (np.zeros((3, 3)), np.array([[0.0, 1.0, 2.0]]), "integers"),
        (np.zeros((3, 3)), np.array([[0, 1, 3]]), "only 0 to 2"),
        (np.zeros((3, 3)), np.array([[0, 1, -1]]), "-1"),
    ],
)
def test_mesh_refuses_what_does_not_fit(vertices, faces, words, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users run it: without the check of signatures
    with pytest.raises(ValueError, match=words):
        Mesh(vertices, faces)


def test_with_vertices_refuses_another_count():
    with pytest.raises(ValueError, match="3 vertices"):
        Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]])).with_vertices(np.zeros((4, 3)))


def test_normals_of_a_sphere_point_outwards():
    mesh = sphere()
    outward = mesh.vertices / 50
    assert (np.einsum("va,va->v", vertex_normals(mesh.vertices, mesh.faces), outward) > 0.97).all()
    centres = mesh.vertices[mesh.faces].mean(axis=1)
    assert (np.einsum("fa,fa->f", face_normals(mesh.vertices, mesh.faces), centres) > 0).all()


def test_normals_are_batched_and_known():
    vertices = np.array([[0.0, 0, 0], [2, 0, 0], [0, 3, 0], [9, 9, 9]])
    faces = np.array([[0, 1, 2]])
    batch = np.stack([vertices, vertices[:, [1, 2, 0]]])[None]
    assert np.array_equal(face_normals(batch, faces)[0, :, 0], [[0, 0, 1], [0, 1, 0]])
    normals = vertex_normals(batch, faces)
    assert normals.shape == (1, 2, 4, 3) and np.array_equal(normals[0, 0, 3], [0, 0, 0]) and np.array_equal(normals[0, 0, 0], [0, 0, 1])
    assert face_areas(vertices, faces) == pytest.approx([3]) and vertex_areas(vertices, faces) == pytest.approx([1, 1, 1, 0])


def test_vertex_areas_sum_to_the_face_areas():
    mesh = sphere()
    assert vertex_areas(mesh.vertices, mesh.faces).sum() == pytest.approx(face_areas(mesh.vertices, mesh.faces).sum())


def test_sound_mesh_has_no_problems():
    assert mesh_problems(sphere()) == []


def test_problems_are_named():
    mesh = sphere()
    vertices = mesh.vertices.copy()
    vertices[7, 1] = np.nan
    assert "vertex 7" in mesh_problems(mesh.with_vertices(vertices))[0]
    assert "0.1 mm" in mesh_problems(mesh.with_vertices(mesh.vertices / 1000))[0]
    flipped = Mesh(mesh.vertices, np.concatenate([mesh.faces[1:], mesh.faces[:1, ::-1]]))
    assert "winding" in mesh_problems(flipped)[0]
    tripled = Mesh(mesh.vertices, np.concatenate([mesh.faces, mesh.faces[:1]]))
    assert any("more than two" in problem for problem in mesh_problems(tripled))
    loose = Mesh(np.concatenate([mesh.vertices, [[0, 0, 0]]]), mesh.faces)
    assert "vertex 98" not in str(mesh_problems(mesh)) and f"vertex {len(mesh.vertices)}" in mesh_problems(loose)[0]
    flat = Mesh(mesh.vertices, np.concatenate([mesh.faces, [[3, 3, 4]]]))
    assert "no area" in mesh_problems(flat)[0] and "[3, 3, 4]" in mesh_problems(flat)[0]
    assert mesh_problems(Mesh(mesh.vertices, np.zeros((0, 3), int))) == ["has no faces"]
