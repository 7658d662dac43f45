import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_shapes import sphere

from serep.geometry import Mesh, read_mesh, triangulate, write_mesh

HOUSE = """# a quad, a triangle and a pentagon
mtllib house.mtl
o house # not a vertex: v 1 2 3
v 0 0 0
v 1 0 0   # corner
v\t1 1 0 1.0
vt 0.5 0.5
vn 0 0 1
v 0 1 0
  v 0.5 2.5e0 0
usemtl brick
s 1
f 1 2 3 4
f 4//1 3//1 5//1
f 1/1 2/1/1 3/1 \\
  5/1 4/1
f -5 -4 -3
v 9 9 9
f -4 -3 -2
"""
HOUSE_FACES = [[0, 1, 2], [0, 2, 3], [3, 2, 4], [0, 1, 2], [0, 2, 4], [0, 4, 3], [0, 1, 2], [2, 3, 4]]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_obj_with_everything(tmp_path, newline):
    path = tmp_path / "house.obj"
    path.write_bytes(HOUSE.replace("\n", newline).encode())
    mesh = read_mesh(path)
    assert mesh.faces.tolist() == HOUSE_FACES
    assert np.array_equal(mesh.vertices, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 2.5, 0], [9, 9, 9]])


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("v 0 1 0", "v 0 one 0"), 9, "could not convert"),
        (("v 0 1 0", "v 0 1"), 9, "3 coordinates"),
        (("v 0 1 0", "v 0 nan 0"), 9, "not finite"),
        (("v 0 1 0", "v 0 -inf 0"), 9, "not finite"),
        (("f 1 2 3 4", "f 1 2"), 13, "at least 3 corners"),
        (("f 1 2 3 4", "f 1 2 7"), 13, "vertex 7, but the file has 6"),
        (("f 1 2 3 4", "f 1 2 0"), 13, "vertex 0"),
        (("f 1 2 3 4", "f 1 2 x/3"), 13, "invalid literal"),
        (("f 1 2 3 4", "f 1/1 2/1 3/x"), 13, "invalid literal"),
        (("f 1 2 3 4", "f 1.0 2 3"), 13, "invalid literal"),
        (("f -5 -4 -3", "f -5 -4 -6"), 17, "vertex -6"),
        (("f -4 -3 -2", "f -4 -3"), 19, "at least 3 corners"),
        (("f -4 -3 -2", "f"), 19, "at least 3 corners"),
        (("f -4 -3 -2", "v"), 19, "3 coordinates"),
    ],
)
def test_bad_obj_is_refused_with_file_and_line(tmp_path, change, line, words):
    path = tmp_path / "bad.obj"
    path.write_text(HOUSE.replace(*change))
    with pytest.raises(ValueError, match=words) as caught:
        read_mesh(path)
    assert f"{path} line {line}:" in str(caught.value)


CORNERS = ["{}", "{}/7", "{}/7/8", "{}//8", "{}/"]


@pytest.mark.parametrize("styles", [*[(style,) * 4 for style in CORNERS], ("{}", "{}/7/8", "{}/7", "{}//8"), ("{}/1", "{}", "{}/1/1", "{}/1")])
def test_every_style_of_corner(tmp_path, styles):
    path = tmp_path / "quad.obj"
    corners = " ".join(style.format(number) for style, number in zip(styles, (4, 2, -2, 1), strict=True))
    path.write_text(f"v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf {corners}\n")
    assert read_mesh(path).faces.tolist() == [[3, 1, 2], [3, 2, 0]]


@pytest.mark.parametrize("content", ["", "v 0 0 0\nv 1 0 0\nv 0 1 0\n", "<html>not a mesh</html>", "\x00\x01\x02"])
def test_obj_without_a_mesh_is_refused(tmp_path, content):
    path = tmp_path / "empty.obj"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"empty.obj has \d vertices and 0 faces"):
        read_mesh(path)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, len(HOUSE) - 1))
def test_a_cut_obj_reads_as_a_mesh_or_is_refused(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "cut.obj"
    path.write_text(HOUSE[:cut])
    try:
        mesh = read_mesh(path)
    except ValueError as problem:
        assert "cut.obj" in str(problem)
    else:
        assert len(mesh.faces) >= 1


@pytest.mark.parametrize("suffix", [".obj", ".ply"])
def test_write_then_read_is_exact_for_float32(tmp_path, rng, suffix):
    mesh = sphere()
    mesh = mesh.with_vertices((mesh.vertices + rng.standard_normal(mesh.vertices.shape)).astype(np.float32))
    write_mesh(tmp_path / "new" / f"mesh{suffix}", mesh)
    again = read_mesh(tmp_path / "new" / f"mesh{suffix}")
    assert np.array_equal(again.vertices.astype(np.float32), mesh.vertices) and np.array_equal(again.faces, mesh.faces)
    other = trimesh.load(tmp_path / "new" / f"mesh{suffix}", process=False)
    assert np.allclose(other.vertices, mesh.vertices) and np.array_equal(other.faces, mesh.faces)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "mesh.obj"
    write_mesh(path, sphere())
    before = path.read_bytes()
    monkeypatch.setattr("serep.geometry.mesh_io.os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_mesh(path, sphere(rings=5))
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match=r"written as .obj or .ply"):
        write_mesh(tmp_path / "mesh.stl", sphere())


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_reads_the_ply_of_another_program(tmp_path, encoding):
    mesh = sphere()
    path = tmp_path / "mesh.ply"
    path.write_bytes(trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(file_type="ply", encoding=encoding, vertex_normal=True))
    again = read_mesh(path)
    assert np.allclose(again.vertices, mesh.vertices, atol=1e-5) and np.array_equal(again.faces, mesh.faces)


ASCII_PLY = """ply
format ascii 1.0
comment by hand
element vertex 5
property float x
property float y
property float z
property uchar red
element face 2
property list uchar int vertex_index
property float quality
end_header
0 0 0 255
1 0 0 255
1 1 0 255
0 1 0 255
0.5 2 0 255
4 0 1 2 3 0.5
3 3 2 4 0.5
"""


def test_ascii_ply_with_mixed_polygons(tmp_path):
    path = tmp_path / "mesh.ply"
    path.write_text(ASCII_PLY)
    mesh = read_mesh(path)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [3, 2, 4]] and mesh.vertices[4].tolist() == [0.5, 2, 0]


@pytest.mark.parametrize("order", ["<", ">"])
def test_binary_ply_with_mixed_polygons_and_extra_properties(tmp_path, order):
    name = {"<": "binary_little_endian", ">": "binary_big_endian"}[order]
    head = ASCII_PLY[: ASCII_PLY.index("end_header") + 11].replace("ascii", name).encode()
    body = b"".join(
        np.array([tuple(row)], [("p", order + "f4", 3), ("c", "u1")]).tobytes()
        for row in [((0, 0, 0), 1), ((1, 0, 0), 1), ((1, 1, 0), 1), ((0, 1, 0), 1), ((0.5, 2, 0), 1)]
    )
    for corners in ([0, 1, 2, 3], [3, 2, 4]):
        body += bytes([len(corners)]) + np.array(corners, order + "i4").tobytes() + np.array(0.5, order + "f4").tobytes()
    path = tmp_path / "mesh.ply"
    path.write_bytes(head + body)
    assert read_mesh(path).faces.tolist() == [[0, 1, 2], [0, 2, 3], [3, 2, 4]]
    for cut in (len(head) + 3, len(head) + len(body) - 3, len(head) + len(body) - 22, 40):
        path.write_bytes((head + body)[:cut])
        with pytest.raises(ValueError, match=r"mesh.ply cannot be read as PLY"):
            read_mesh(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("0.5 2 0 255", "0.5 nan 0 255"), "vertex 4 is not finite"),
        (("3 3 2 4", "3 3 2 5"), r"face 1 is \[3, 2, 5\]"),
        (("3 3 2 4 0.5\n", ""), "ends within the element 'face'"),
        (("ply\n", "plx\n"), "does not begin"),
        (("format ascii", "format morse"), "morse"),
        (("vertex_index", "corners"), "vertex_indices"),
        (("1 1 0 255", "1 one 0 255"), "could not convert"),
    ],
)
def test_bad_ply_is_refused(tmp_path, change, words):
    path = tmp_path / "bad.ply"
    path.write_text(ASCII_PLY.replace(*change, 1))
    with pytest.raises(ValueError, match=words) as caught:
        read_mesh(path)
    assert str(path) in str(caught.value)


def test_npz(tmp_path):
    path = tmp_path / "mesh.npz"
    np.savez(path, vertices=np.eye(4, 3, dtype=np.float32), faces=np.array([[0, 1, 2, 3], [0, 1, 2, -1]]))
    assert read_mesh(path, unit="cm").vertices[0].tolist() == [10, 0, 0]
    assert read_mesh(path).faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]
    np.savez(path, points=np.eye(3))
    with pytest.raises(ValueError, match="no array faces, vertices"):
        read_mesh(path)
    path.write_bytes(b"not a zip")
    with pytest.raises(ValueError, match="cannot be read as a mesh"):
        read_mesh(path)


def test_units_and_axes_are_turned_at_the_border(tmp_path):
    path = tmp_path / "tall.obj"
    path.write_text("v 1 2 3\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    assert read_mesh(path, unit="m", up="z", front="-y").vertices[0].tolist() == [1000, 3000, -2000]
    assert read_mesh(path, up="y", front="-z").vertices[0].tolist() == [-1, 2, -3]
    for up in ("x", "-y", "z"):
        for front in ("y", "-x", "-z"):
            if up[-1] != front[-1]:
                turned = read_mesh(path, up=up, front=front).vertices
                assert np.linalg.det(turned) == pytest.approx(np.linalg.det(read_mesh(path).vertices))  # a turn, never a mirror image


def test_border_refusals(tmp_path):
    write_mesh(tmp_path / "there.obj", sphere())
    with pytest.raises(FileNotFoundError, match=r"found beside it: there.obj"):
        read_mesh(tmp_path / "absent.obj")
    with pytest.raises(ValueError, match="inch"):
        read_mesh(tmp_path / "there.obj", unit="inch")
    with pytest.raises(ValueError, match="two different axes"):
        read_mesh(tmp_path / "there.obj", up="y", front="-y")
    (tmp_path / "mesh.fbx").write_text("x")
    with pytest.raises(ValueError, match="fbx"):
        read_mesh(tmp_path / "mesh.fbx")


def test_triangulate():
    assert triangulate(np.array([[0, 1, 2, 3], [4, 5, 6, -1]])).tolist() == [[0, 1, 2], [0, 2, 3], [4, 5, 6]]
    assert triangulate(np.array([[0, 1, 2]])).tolist() == [[0, 1, 2]]
    for bad in ([[0, 1, -1, -1]], [[0, 1, -1, 2]]):
        with pytest.raises(ValueError, match="polygon 0"):
            triangulate(np.array(bad))


def test_real_heads_keep_the_vertex_order(shared_data):
    """Against a line-by-line reading of the same file."""
    path = shared_data / "ict" / "FaceXModel" / "jawOpen.obj"
    mesh = read_mesh(path, unit="cm")
    lines = path.read_text().splitlines()
    expected = np.array([[float(number) for number in line.split()[1:]] for line in lines if line.startswith("v ")])
    assert np.array_equal(mesh.vertices, 10 * expected)
    first = next([int(corner.split("/")[0]) - 1 for corner in line.split()[1:]] for line in lines if line.startswith("f "))
    assert mesh.faces[0].tolist() == first[:3]
    neutral = read_mesh(path.with_name("generic_neutral_mesh.obj"), unit="cm")
    assert np.array_equal(neutral.faces, mesh.faces) and isinstance(mesh, Mesh)
