from pathlib import Path

import numpy as np
import pytest
import torch
from small_heads import sheet

from serep.export.retargeting import output_files, output_kind, read_expressions, write_retargeted
from serep.geometry import Mesh, read_mesh, write_mesh
from serep.models.networks import LinearMap
from serep.models.rig import Rig

VERTICES, FACES, _ = sheet()
NEUTRAL = Mesh(VERTICES, FACES)


def read(source, **options):
    return read_expressions(source, NEUTRAL, neutral_file=Path("anna/neutral.obj"), **options)


@pytest.fixture
def rig(rng):
    decoder = LinearMap(2, 4)
    decoder.matrix.copy_(torch.randn(2, 4, generator=torch.Generator().manual_seed(0)))
    return Rig(NEUTRAL, rng.standard_normal((4, len(VERTICES), 3)).astype(np.float32), decoder, 2)


def test_a_folder_without_its_neutral_and_hidden_files(tmp_path):
    for name, shift in (("b.obj", 2), ("a.ply", 1), ("neutral.obj", 0)):
        write_mesh(tmp_path / name, Mesh(VERTICES + shift, FACES))
    (tmp_path / "._a.ply").write_text("what another system leaves")
    (tmp_path / "notes.txt").write_text("no mesh")
    found = read(tmp_path, leave_out=(tmp_path / "neutral.obj",))
    assert found.names == ["a", "b"] and found.fps is None and found.place(1) == str(tmp_path / "b.obj")
    np.testing.assert_allclose(found.vertices, VERTICES + np.array([1, 2])[:, None, None], atol=1e-5)


def test_two_files_of_one_name_are_refused(tmp_path):
    for name in ("smile.obj", "smile.ply"):
        write_mesh(tmp_path / name, NEUTRAL)
    with pytest.raises(ValueError, match=r"smile\.obj and .*smile\.ply would both be written as smile\.obj"):
        read(tmp_path)


def test_other_topologies_name_both_files_and_counts(tmp_path):
    write_mesh(tmp_path / "smile.obj", Mesh(VERTICES[:20], np.array([[0, 1, 2]])))
    with pytest.raises(ValueError, match=r"smile\.obj has other faces than its neutral anna/neutral\.obj \(20 vertices and 1 triangles against 225 and 392\)"):
        read(tmp_path / "smile.obj")
    write_mesh(tmp_path / "turned.obj", Mesh(VERTICES, FACES[::-1]))
    with pytest.raises(ValueError, match=r"225 vertices and 392 triangles against 225 and 392\): both need one topology, with vertices in one order"):
        read(tmp_path / "turned.obj")


def test_one_unit_for_all(tmp_path):
    write_mesh(tmp_path / "smile.obj", Mesh(VERTICES / 1000, FACES))
    with pytest.raises(ValueError, match=r"smile\.obj is 0\.001 times as large as its neutral anna/neutral\.obj: give both in one unit"):
        read(tmp_path / "smile.obj")
    np.savez(tmp_path / "walk.npz", vertices=VERTICES[None] / 10)
    with pytest.raises(ValueError, match=r"walk\.npz, frame_00000 is 0\.1 times as large .* an \.npz must be in mm"):
        read(tmp_path / "walk.npz")


def test_frames_without_a_face_are_left_out(tmp_path):
    frames = np.stack([VERTICES, VERTICES + np.nan, VERTICES + 1]).astype(np.float32)
    np.savez(tmp_path / "walk.npz", vertices=frames, found=np.array([True, False, True]), fps=30, faces=FACES, codes=np.zeros((3, 2)))
    found = read(tmp_path / "walk.npz")
    assert found.names == ["frame_00000", "frame_00001"] and found.dropped == 1 and found.fps == 30.0
    assert found.vertices.dtype == np.float32 and np.array_equal(found.vertices, frames[[0, 2]])
    np.savez(tmp_path / "plain.npz", vertices=VERTICES[None])
    assert read(tmp_path / "plain.npz").fps == 25.0


FRAMES = np.repeat(VERTICES[None], 3, axis=0)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"points": FRAMES}, r"no array 'vertices' \(found: points\)"),
        ({}, "no array 'vertices'"),
        ({"vertices": VERTICES}, r"shape \(T, V, 3\) in mm, got float64 \(225, 3\)"),
        ({"vertices": FRAMES[..., :2]}, r"got float64 \(3, 225, 2\)"),
        ({"vertices": FRAMES.astype(np.int32)}, r"floating-point numbers .* got int32 \(3, 225, 3\)"),
        ({"vertices": FRAMES.astype("U8")}, "floating-point numbers"),
        ({"vertices": FRAMES.astype(object)}, "it holds pickled objects, which are not read; write it with numpy.savez"),
        ({"vertices": FRAMES[:0]}, "has no frames: there is nothing to carry over"),
        ({"vertices": FRAMES[:, :100]}, r"walk\.npz has 100 vertices, its neutral anna/neutral\.obj 225"),
        ({"vertices": FRAMES, "faces": FACES[::-1]}, r"other faces than its neutral anna/neutral\.obj"),
        ({"vertices": np.where(np.arange(3)[:, None, None] == 1, np.nan, FRAMES)}, r"1 of 3 frames have vertices that are not finite \(first: frame 1\)"),
        ({"vertices": FRAMES, "found": np.zeros(3, bool)}, "no frame with a face"),
        ({"vertices": FRAMES, "found": np.ones(2, bool)}, r"found must be .* 3 frames, got bool \(2,\)"),
        ({"vertices": FRAMES, "found": np.ones(3)}, "found must be true or false"),
        ({"vertices": FRAMES, "fps": np.array(0.0)}, "fps must be one positive number, got float64 0.0"),
        ({"vertices": FRAMES, "fps": np.array("25")}, "fps must be one positive number"),
        ({"vertices": FRAMES, "fps": np.array([25.0, 30.0])}, "fps must be one positive number"),
    ],
)
def test_arrays_that_are_no_sequence(tmp_path, arrays, words):
    np.savez(tmp_path / "walk.npz", **arrays)
    with pytest.raises(ValueError, match=words) as refusal:
        read(tmp_path / "walk.npz")
    assert "walk.npz" in str(refusal.value) and "\n" not in str(refusal.value)


def test_files_that_are_no_archive(tmp_path):
    path = tmp_path / "walk.npz"
    np.savez_compressed(path, vertices=FRAMES)
    whole = path.read_bytes()
    middle = len(whole) // 2
    damaged = whole[:middle] + bytes(64) + whole[middle + 64 :]
    with (tmp_path / "one.npy").open("wb") as file:
        np.save(file, FRAMES)
    for content in (b"", b"no archive at all", whole[:-100], damaged, (tmp_path / "one.npy").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"walk\.npz cannot be read as frames of vertices: it .*numpy\.savez"):
            read(path)


def test_where_results_may_go(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.obj").mkdir()
    (tmp_path / "v1.2").mkdir()
    for name, kind in (("new", "folder"), ("v1.2", "folder"), ("a.GLB", "glb"), ("a.npz", "npz"), ("deep/er/a.ply", "mesh")):
        assert output_kind(tmp_path / name, 1) == kind
    for name, count, words in (
        ("file", 1, "is a file: give a folder"), ("file/new", 1, r"lies inside .*file, which is a file"), ("file/a/b.npz", 1, "which is a file"),
        ("folder.obj", 1, "a folder with a file's name"), ("a.obj", 3, "one mesh, but there are 3 expressions"), ("a.fbx", 1, r"\.fbx files are not written"),
    ):
        with pytest.raises(ValueError, match=words):
            output_kind(tmp_path / name, count)


def test_every_kind_of_file_holds_the_posed_rig(rig, rng, tmp_path):
    codes, colours = rng.standard_normal((2, 2)).astype(np.float32), np.full((len(VERTICES), 3), 0.5)
    posed = rig.pose(codes)

    def write(name, rows, **options):
        write_retargeted(tmp_path / name, ["a", "b"][:rows], rig, codes[:rows], kind=output_kind(tmp_path / name, rows), colours=colours, **options)

    write("folder", 2, fps=None)
    assert output_files(tmp_path / "folder", ["a", "b"], kind="folder") == sorted((tmp_path / "folder").iterdir())
    np.testing.assert_allclose(read_mesh(tmp_path / "folder" / "b.obj").vertices, posed[1], atol=1e-5)
    write("one.ply", 1, fps=None)
    np.testing.assert_allclose(read_mesh(tmp_path / "one.ply").vertices, posed[0], atol=1e-5)
    write("all.npz", 2, fps=30.0)
    first = (tmp_path / "all.npz").read_bytes()
    write("all.npz", 2, fps=30.0)
    assert (tmp_path / "all.npz").read_bytes() == first  # whatever the time of day
    with np.load(tmp_path / "all.npz", allow_pickle=False) as arrays:
        assert np.array_equal(arrays["vertices"], posed) and arrays["names"].tolist() == ["a", "b"] and arrays["fps"] == 30
    assert np.array_equal(read(tmp_path / "all.npz").vertices, posed)  # what was written can be carried on
    write("all.glb", 2, fps=None)
    assert (tmp_path / "all.glb").read_bytes()[:4] == b"glTF"


def test_codes_of_another_model_are_refused(rig, tmp_path):
    for kind, name in (("npz", "a.npz"), ("glb", "a.glb"), ("folder", "a")):
        with pytest.raises(ValueError, match=r"expression codes must have shape \(B, 2\), got \(1, 3\)"):
            write_retargeted(tmp_path / name, ["a"], rig, np.zeros((1, 3), np.float32), kind=kind, fps=None, colours=np.ones((len(VERTICES), 3)))
    assert not list(tmp_path.iterdir())
