import json
import shutil
import struct

import numpy as np
import pytest
from capture_stub import stand_in, write_capture_model
from PIL import Image
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

import serep
from serep.cli import app
from serep.data.video import VideoReader, VideoWriter
from serep.doctor import Check
from serep.geometry import Mesh, read_mesh, write_mesh
from serep.geometry.remesh import cropped, permuted
from serep.models.capture import CaptureResult

BRIGHTNESS = [120, 140, 0, 160, 180, 200, 220, 0]  # of the frames; 0 has no face


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory, topology):
    folder = tmp_path_factory.mktemp("capture_model")
    write_capture_model(folder, topology)
    return folder


@pytest.fixture
def run(monkeypatch, topology, tmp_path):
    """Calls the command line with the stand-in network, in an empty folder."""
    stand_in(monkeypatch, topology)
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "SEREP_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def clip(tmp_path):
    """A video of eight frames, 120 x 90 px, two of them without a face."""
    return write_clip(tmp_path / "clip.mp4", BRIGHTNESS)


def write_clip(path, levels):
    with VideoWriter(path, 10.0, (90, 120)) as writer:
        for level in levels:
            writer.write(np.full((90, 120, 3), level, np.uint8))
    return path


def refused(result, *words):
    """Status 1, nothing on stdout, and one line on stderr that holds all the words."""
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), (result.output, result.exception)
    assert not result.stdout and result.stderr.startswith("serep: ") and "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert str(word) in result.stderr, result.stderr


def animation(path):
    content = path.read_bytes()
    (length,) = struct.unpack_from("<I", content, 12)
    return json.loads(content[20 : 20 + length])


def test_capture_of_a_video(run, clip, tmp_path, model_folder, topology):
    out = tmp_path / "deep" / "out"
    result = run("capture", clip, "--out", out, "--model", model_folder)
    assert result.exit_code == 0, result.stderr
    assert "8 frames, 2 of them without a face" in result.stdout
    assert sorted(path.name for path in out.iterdir()) == ["animation.glb", "capture.npz", "overlay.mp4"]
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    captured = CaptureResult.load(out / "capture.npz")
    assert captured.found.tolist() == [level > 0 for level in BRIGHTNESS] and captured.fps == 10
    assert captured.vertices.shape == (8, *topology.template.shape)
    opening = captured.codes[captured.found, 1]
    assert (np.diff(opening) < 0).all()  # brighter and brighter
    overlay = VideoReader(out / "overlay.mp4")
    frames = list(overlay)
    assert len(frames) == 8 and overlay.size == (90, 210)
    assert frames[0][:, 120:].std() > 20 > frames[2][:, 120:].std()  # a head, and none
    document = animation(out / "animation.glb")
    assert document["meshes"][0]["extras"]["targetNames"] == ["mode_000", "mode_001", "mode_002"]
    times = document["accessors"][document["animations"][0]["samplers"][0]["input"]]
    assert times["count"] == 7 and times["max"] == [pytest.approx(0.7)]  # six faces and the clip's end
    assert {channel["target"]["path"] for channel in document["animations"][0]["channels"]} == {"weights", "translation", "rotation"}


def test_capture_in_pieces_is_the_same(run, clip, tmp_path, model_folder, monkeypatch):
    run("capture", clip, "--out", tmp_path / "whole", "--model", model_folder)
    monkeypatch.setattr("serep.export.performance.BATCH_FRAMES", 3)
    run("capture", clip, "--out", tmp_path / "pieces", "--model", model_folder)
    whole, pieces = (CaptureResult.load(tmp_path / name / "capture.npz") for name in ("whole", "pieces"))
    np.testing.assert_allclose(pieces.codes, whole.codes, atol=1e-6)
    np.testing.assert_allclose(pieces.landmarks, whole.landmarks, atol=1e-3)


def test_capture_of_a_picture_drives_a_target(run, tmp_path, model_folder, topology):
    Image.fromarray(np.full((100, 80, 3), 200, np.uint8)).save(tmp_path / "photo.jpg")
    write_mesh(tmp_path / "wide.obj", Mesh(topology.template * [1.2, 1, 1] / 10, topology.faces))
    out = tmp_path / "out"
    out.mkdir()
    (out / "overlay.mp4").write_text("of an older run")
    (out / "mine.txt").write_text("stays")
    result = run("capture", "photo.jpg", "--out", "out", "--target", "wide.obj", "--unit", "cm", "--model", model_folder)
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in out.iterdir()) == ["animation.glb", "capture.npz", "mine.txt", "overlay.png"]
    assert "1 frames" not in result.stdout and "1 frame;" in result.stdout
    with Image.open(out / "overlay.png") as picture:
        assert picture.size == (180, 100)
    captured = CaptureResult.load(out / "capture.npz")
    assert np.ptp(captured.vertices[0, :, 0]) == pytest.approx(1.2 * np.ptp(topology.template[:, 0]), rel=1e-3)
    assert "animations" in animation(out / "animation.glb")


def test_footage_without_a_face_leaves_nothing(run, tmp_path, model_folder):
    clip = write_clip(tmp_path / "dark.mp4", [0] * 5)
    refused(run("capture", clip, "--out", tmp_path / "out", "--model", model_folder), "no face found in 5 frames of", clip, "use footage")
    Image.fromarray(np.zeros((50, 50, 3), np.uint8)).save(tmp_path / "dark.png")
    refused(run("capture", "dark.png", "--out", "out", "--model", model_folder), "no face found in 1 frame of dark.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dark.mp4", "dark.png"]


def test_what_is_no_footage(run, tmp_path, model_folder):
    (tmp_path / "notes.mp4").write_text("no video at all\n" * 50)
    refused(run("capture", "notes.mp4", "--out", "out", "--model", model_folder), "notes.mp4 is not a video")
    (tmp_path / "notes.png").write_text("no picture")
    refused(run("capture", "notes.png", "--out", "out", "--model", model_folder), "notes.png is not a picture")
    refused(run("capture", "absent.mp4", "--out", "out", "--model", model_folder), "no file absent.mp4")
    refused(run("capture", "notes.mp4", "--out", "notes.png", "--model", model_folder), "give the name of a folder")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def character(topology):
    """The template in other triangles, numbered anew, on a plinth a metre high."""
    mesh = permuted(cropped(topology.mesh(topology.template), topology.parts == 0)[0], rng=np.random.default_rng(0))[0]
    return mesh.with_vertices(mesh.vertices + np.array([0.0, 1000.0, 0.0]))


def test_target_of_another_topology(run, clip, tmp_path, model_folder, topology, character):
    write_mesh(tmp_path / "character.obj", character)
    result = run("capture", clip, "--out", "out", "--target", "character.obj", "--model", model_folder)
    assert result.exit_code == 0, (result.stderr, result.exception)
    assert result.stderr.startswith("note: character.obj has a topology of its own") and result.stderr.count("\n") == 1
    captured = CaptureResult.load(tmp_path / "out" / "capture.npz")
    assert captured.vertices.shape == (8, *character.vertices.shape)
    moved = np.linalg.norm(captured.vertices[0] - character.vertices, axis=1)
    assert moved.max() > 2 and (moved < 0.1).mean() > 0.5
    inner = np.isin(captured.landmark_ids, (13, 14))
    assert 900 < captured.mesh_landmarks[0, inner, 1].mean() < 1000  # the mouth is there, below the middle of the head
    frames = list(VideoReader(tmp_path / "out" / "overlay.mp4"))
    assert frames[0][:, 120:].std() > 20
    result = run("export", "out/capture.npz", "--out", "again.glb", "--target", "character.obj", "--model", model_folder)
    assert result.exit_code == 0 and (tmp_path / "again.glb").read_bytes() == (tmp_path / "out" / "animation.glb").read_bytes()


def test_targets_that_are_no_heads(run, clip, tmp_path, model_folder, topology):
    corners = np.array(list(np.ndindex(2, 2, 2)), float) * 200
    faces = [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
    write_mesh(tmp_path / "box.obj", Mesh(corners, np.array(faces)))
    refused(run("capture", clip, "--out", "out", "--target", "box.obj", "--model", model_folder), "box.obj: ")
    write_mesh(tmp_path / "small.obj", Mesh(topology.template[:100] / 100, np.array([[0, 1, 2]])))
    refused(run("capture", clip, "--out", "out", "--target", "small.obj", "--model", model_folder), "small.obj is ", "mm high")
    assert not (tmp_path / "out").exists()


def test_footage_is_not_written_over(run, tmp_path, model_folder):
    clip = write_clip(tmp_path / "out" / "overlay.mp4", BRIGHTNESS)
    before = clip.read_bytes()
    refused(run("capture", clip, "--out", "out", "--model", model_folder), "--out would write over out/overlay.mp4")
    assert clip.read_bytes() == before


def test_a_failure_while_writing_keeps_the_older_capture(run, clip, tmp_path, model_folder, monkeypatch):
    assert run("capture", clip, "--out", "out", "--model", model_folder).exit_code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def fail(*_, **__):
        raise RuntimeError("the disk is full: make room")

    monkeypatch.setattr("serep.export.performance.write_glb", fail)
    refused(run("capture", clip, "--out", "out", "--model", model_folder), "the disk is full")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "out"]


def test_models_that_are_not_there(run, clip, model_folder):
    refused(run("capture", clip, "--out", "out", "--model", "nowhere"), "no model folder nowhere")
    refused(run("capture", clip, "--out", "out"), "no dvc.yaml", "MLFLOW_TRACKING_URI", "a model's folder")
    refused(run("capture", clip, "--out", "out", "--model", model_folder / "semantic"), "is a semantic model", "models:/serep-capture@champion")
    refused(run("capture", clip, "--out", "out", "--model", model_folder, "--device", "abacus"), "unknown device 'abacus'")


def test_bugs_keep_their_traceback(run, clip, model_folder, monkeypatch):
    def bug(*_, **__):
        raise KeyError("a bug")

    monkeypatch.setattr("serep.export.performance.CaptureStream", bug)
    assert isinstance(run("capture", clip, "--out", "out", "--model", model_folder).exception, KeyError)


def test_export(run, clip, tmp_path, model_folder):
    run("capture", clip, "--out", "out", "--model", model_folder)
    result = run("export", "out/capture.npz", "--out", "again.glb", "--model", model_folder)
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "again.glb").read_bytes() == (tmp_path / "out" / "animation.glb").read_bytes()
    refused(run("export", "out/capture.npz", "--out", "again.fbx", "--model", model_folder), "must end in .glb")
    refused(run("export", "absent.npz", "--out", "again.glb", "--model", model_folder), "no capture at absent.npz")


@pytest.fixture
def people(tmp_path, topology):
    """Meshes of two people: the source's neutral and two expressions in a folder, and a wider target."""
    mouth = topology.regions["mouth"][:, None]
    folder = tmp_path / "anna"
    write_mesh(folder / "neutral.obj", topology.mesh(topology.template))
    write_mesh(folder / "open.obj", topology.mesh(topology.template + mouth * [0.0, -6.0, 0.0]))
    write_mesh(folder / "pout.ply", topology.mesh(topology.template + mouth * [0.0, 0.0, 4.0]))
    write_mesh(tmp_path / "ben.obj", topology.mesh(topology.template * [1.1, 1.0, 1.0]))
    return folder


def retarget_words(source, out, model_folder):
    words = ("--source", source, "--target-neutral", "ben.obj", "--out", out, "--model", model_folder / "semantic")
    return ("retarget", "--source-neutral", "anna/neutral.obj", *words)


def test_retarget(run, people, tmp_path, model_folder, topology):
    mouth = topology.regions["mouth"] > 0
    neutral = read_mesh(tmp_path / "ben.obj").vertices
    result = run(*retarget_words(people, "new", model_folder))
    assert result.exit_code == 0 and not result.stderr, result.stderr
    assert result.stdout == "new: 2 expressions on ben.obj; new/side_by_side.png\n"
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["open.obj", "pout.obj", "side_by_side.png"]
    moved = read_mesh(tmp_path / "new" / "open.obj").vertices - neutral
    np.testing.assert_allclose(moved[mouth], np.broadcast_to([0, -6, 0], (mouth.sum(), 3)), atol=1e-2)
    np.testing.assert_allclose(moved[~mouth], 0, atol=1e-4)
    for out in ("one.ply", "deep/one.obj"):
        assert run(*retarget_words(people / "open.obj", out, model_folder)).exit_code == 0
        np.testing.assert_allclose(read_mesh(tmp_path / out).vertices, neutral + moved, atol=1e-2)
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["one.obj", "one_side_by_side.png"]
    assert run(*retarget_words(people, "all.npz", model_folder)).exit_code == 0
    with np.load(tmp_path / "all.npz", allow_pickle=False) as arrays:
        assert arrays["names"].tolist() == ["open", "pout"] and arrays["codes"].shape == (2, 3)
        np.testing.assert_allclose(arrays["vertices"][0], neutral + moved, atol=1e-2)
    assert run(*retarget_words(people, "all.glb", model_folder)).exit_code == 0
    assert "animations" in animation(tmp_path / "all.glb")
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"all.glb", "all.npz", "all_side_by_side.png", "anna", "ben.obj", "deep", "new", "one.ply", "one_side_by_side.png"}


def test_retarget_of_frames(run, people, clip, tmp_path, model_folder):
    """A capture goes on to another face; frames without a face are left out."""
    assert run("capture", clip, "--out", "shot", "--model", model_folder).exit_code == 0
    result = run(*retarget_words("shot/capture.npz", "frames.npz", model_folder))
    assert result.exit_code == 0 and result.stderr == "note: shot/capture.npz: 2 frames without a face left out\n"
    assert result.stdout == "frames.npz: 6 frames on ben.obj; frames_side_by_side.png, frames_side_by_side.mp4\n"
    with np.load(tmp_path / "frames.npz", allow_pickle=False) as arrays:
        assert len(arrays["vertices"]) == 6 and arrays["names"][0] == "frame_00000" and arrays["fps"] == 10
    video = VideoReader(tmp_path / "frames_side_by_side.mp4")
    assert len(list(video)) == 6 and video.fps == 10
    # Into a folder; a second run, of separate meshes, leaves no video of the first.
    assert run(*retarget_words("shot/capture.npz", "frames", model_folder)).exit_code == 0
    assert sorted(path.name for path in (tmp_path / "frames").iterdir())[-3:] == ["frame_00005.obj", "side_by_side.mp4", "side_by_side.png"]
    assert run(*retarget_words(people, "frames", model_folder)).exit_code == 0
    assert sorted(path.name for path in (tmp_path / "frames").iterdir())[-2:] == ["pout.obj", "side_by_side.png"]


def test_retarget_takes_head_motion_off_and_says_so(run, people, tmp_path, model_folder, topology):
    assert run(*retarget_words(people, "still", model_folder)).exit_code == 0
    turn = Rotation.from_rotvec(np.radians([5, 8, 0])).as_matrix()
    opened = read_mesh(people / "open.obj")
    write_mesh(people / "open.obj", opened.with_vertices(opened.vertices @ turn.T + [4.0, 0.0, 9.0]))
    result = run(*retarget_words(people, "moved", model_folder))
    assert result.exit_code == 0 and result.stderr.startswith("note: 1 of 2 expressive meshes were not in their neutral's frame (by up to ")
    assert result.stderr.count("\n") == 1
    still, moved = (read_mesh(tmp_path / folder / "open.obj").vertices for folder in ("still", "moved"))
    np.testing.assert_allclose(moved, still, atol=1e-3)


def test_retarget_from_other_units_and_axes(run, people, tmp_path, model_folder):
    """Metres and z up on both sides; the result is in our millimetres and axes."""
    assert run(*retarget_words(people / "open.obj", "mm.obj", model_folder)).exit_code == 0
    for path in (people / "neutral.obj", people / "open.obj", tmp_path / "ben.obj"):
        mesh = read_mesh(path)
        write_mesh(path, mesh.with_vertices(mesh.vertices[:, [0, 2, 1]] * [0.001, -0.001, 0.001]))
    refused(run(*retarget_words(people / "open.obj", "m.obj", model_folder)), "neutral.obj is 0.2", "as mm: it is probably in m; give --unit m")
    refused(run(*retarget_words(people / "open.obj", "m.obj", model_folder), "--unit", "m"), "give its axes with --up and --front")
    assert run(*retarget_words(people / "open.obj", "m.obj", model_folder), "--unit", "m", "--up", "z", "--front", "-y").exit_code == 0
    np.testing.assert_allclose(read_mesh(tmp_path / "m.obj").vertices, read_mesh(tmp_path / "mm.obj").vertices, atol=1e-3)


def test_retarget_refusals(run, people, tmp_path, model_folder, topology):
    def words(source, out="new"):
        return retarget_words(source, out, model_folder)

    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    refused(run(*words(people, "one.obj")), "there are 2 expressions")
    refused(run(*words(people, "one.fbx")), ".fbx files are not written")
    refused(run(*words(people, "ben.obj/x")), "--out ben.obj/x lies inside ben.obj, which is a file")
    refused(run(*words(people)[:-1], model_folder), "is a capture model")
    (tmp_path / "none").mkdir()
    refused(run(*words("none")), "holds no expressive mesh")
    refused(run(*words("absent.obj")), "there is no mesh absent.obj")
    for out, source, hit in (
        ("anna", people, "anna/open.obj"), ("anna/open.obj", people / "open.obj", "anna/open.obj"), ("ben.obj", people / "open.obj", "ben.obj"),
        ("anna/neutral.obj", people / "open.obj", "anna/neutral.obj"),
    ):
        refused(run(*words(source, out)), f"--out would write over {hit}", "choose another name or folder")
    np.savez(tmp_path / "walk.npz", vertices=topology.template[None])
    refused(run(*words("walk.npz", "walk.npz")), "--out would write over walk.npz")
    np.savez(tmp_path / "points.npz", points=np.zeros(3))
    refused(run(*words("points.npz")), "no array 'vertices' (found: points)")
    for made in ("walk.npz", "points.npz"):
        (tmp_path / made).unlink()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before and not (tmp_path / "new").exists()
    write_mesh(people / "zz_other.obj", Mesh(topology.template[:100], np.array([[0, 1, 2]])))
    refused(run(*words(people)), "zz_other.obj has other faces than its neutral anna/neutral.obj", "100 vertices", f"against {len(topology.template)}")
    (people / "zz_other.obj").write_text("v 1 2\n")
    refused(run(*words(people)), "zz_other.obj has 1 vertices and 0 faces")
    assert not (tmp_path / "new").exists()


def test_retarget_between_topologies(run, people, tmp_path, model_folder, topology, character):
    """There and back: what the character shows of Anna's mouth is what Anna shows of the character's."""
    write_mesh(tmp_path / "ben.obj", character)
    result = run(*retarget_words(people, "on_character", model_folder))
    assert result.exit_code == 0 and result.stderr.startswith("note: ben.obj has a topology of its own"), (result.stderr, result.exception)
    opened = read_mesh(tmp_path / "on_character" / "open.obj")
    assert np.array_equal(opened.faces, character.faces) and (tmp_path / "on_character" / "side_by_side.png").is_file()
    moved = opened.vertices - character.vertices
    assert -6.5 < moved[:, 1].min() < -5.5 and np.abs(moved[:, 0]).max() < 0.5
    words = ("--source-neutral", "ben.obj", "--source", "on_character", "--target-neutral", "anna/neutral.obj")
    result = run("retarget", *words, "--out", "back", "--model", model_folder / "semantic")
    assert result.exit_code == 0, (result.stderr, result.exception)
    back, given = read_mesh(tmp_path / "back" / "open.obj").vertices, read_mesh(people / "open.obj").vertices
    assert np.abs(back - given).max() < 1.0


@pytest.mark.parametrize("role", ["anna/neutral.obj", "ben.obj"])
def test_retarget_of_unsound_neutrals(run, people, tmp_path, model_folder, topology, role):
    folded = topology.template.copy()
    folded[topology.faces[5, 1]] = folded[topology.faces[5, 0]]
    unsound = ((folded, "have no area"), (topology.template * [-1, 1, 1], "mirror image"), (topology.template / 10, "--unit cm"))
    for vertices, words in unsound:
        for name in ("anna/neutral.obj", "anna/open.obj") if "neutral" in role else (role,):
            write_mesh(tmp_path / name, topology.mesh(vertices))
        refused(run(*retarget_words(people / "open.obj", "new", model_folder)), role, words)
    assert not (tmp_path / "new").exists()


def test_a_changed_model_is_named(run, people, tmp_path, model_folder):
    changed = tmp_path / "changed"
    shutil.copytree(model_folder / "semantic", changed)
    weights = changed / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    words = retarget_words(people, "new", model_folder)
    refused(run(*words[:-1], changed), f"{weights} is not the file that was saved")
    weights.unlink()
    refused(run(*words[:-1], changed), "weights.safetensors is missing")
    (changed / "config.json").write_text("{")
    refused(run(*words[:-1], changed), "config.json is not JSON")


def test_a_failure_while_drawing_leaves_nothing(run, people, tmp_path, model_folder, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    before = sorted(path.name for path in tmp_path.iterdir())
    monkeypatch.setattr("serep.export.side_by_side.write_side_by_side", fail)
    for out in ("new", "one.npz"):
        refused(run(*retarget_words(people, out, model_folder)), "No space left on device")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(("state", "status"), [("ok", 0), ("warn", 0), ("fail", 1)])
def test_doctor_fails_only_on_what_is_needed(run, monkeypatch, state, status):
    report = [Check("Python", "ok", "3.11"), Check("thing", state, "found [this]", "do that")]
    monkeypatch.setattr("serep.doctor.checks", lambda root, uri: iter(report))
    result = run("doctor")
    assert result.exit_code == status
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines == ["ok Python 3.11", f"{state} thing found [this] → do that"]


def test_version_and_public_names(run):
    assert run("--version").stdout.strip() == serep.__version__
    assert serep.Mesh is Mesh and serep.read_mesh is read_mesh
    assert set(serep.__all__) <= set(dir(serep))
    with pytest.raises(AttributeError, match="load_model"):
        _ = serep.load_modle


def test_import_is_light():
    """`import serep` and the command's own help load no heavy package."""
    import subprocess
    import sys

    code = "import sys, serep.cli; print([name for name in ('torch', 'numpy', 'cv2', 'mlflow', 'scipy') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
