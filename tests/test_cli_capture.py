"""`serep capture` on footage as it comes: odd files, several faces, interruptions, a camera. The network is a stand-in that sees brightness."""
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from capture_stub import stand_in, write_capture_model
from typer.testing import CliRunner

from serep.cli import app
from serep.data.video import VideoReader, VideoWriter
from serep.models.capture import CaptureResult
from serep.models.face_boxes import FaceSquare

FILES = ["animation.glb", "capture.npz", "overlay.mp4"]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory, topology):
    folder = tmp_path_factory.mktemp("capture_model")
    write_capture_model(folder, topology)
    return folder


@pytest.fixture
def run(monkeypatch, topology, tmp_path, model_folder):
    stand_in(monkeypatch, topology)
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, ["capture", *(str(word) for word in words), "--out", "out", "--model", str(model_folder)])


def write_clip(path, levels, size=(90, 120), fps=10.0):
    with VideoWriter(path, fps, size) as writer:
        for level in levels:
            writer.write(np.full((*size, 3), level, np.uint8))
    return path


def written(folder):
    return sorted(path.name for path in (folder / "out").iterdir())


@pytest.mark.parametrize(("size", "frames"), [((90, 120), 1), ((91, 121), 3), ((160, 90), 3), ((2160, 3840), 2)])
def test_one_frame_odd_portrait_and_huge(run, tmp_path, size, frames):
    write_clip(tmp_path / "clip.mp4", [150] * frames, size)
    result = run("clip.mp4")
    assert result.exit_code == 0, result.stderr
    assert written(tmp_path) == FILES and f"{frames} frame" in result.stdout
    captured = CaptureResult.load(tmp_path / "out/capture.npz")
    assert captured.found.all() and len(captured.found) == frames
    height, width = (side + side % 2 for side in size)
    np.testing.assert_allclose((captured.boxes[0, :2] + captured.boxes[0, 2:]) / 2, [width / 2, height / 2], atol=0.02 * width)
    assert VideoReader(tmp_path / "out/overlay.mp4").size[0] <= 1080


def test_a_phone_held_upright(run, tmp_path):
    """The landmarks are in the picture as it is shown, not as it is stored."""
    with av.open(str(tmp_path / "phone.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.height, stream.width, stream.pix_fmt = 90, 160, "yuv420p"
        stream.set_display_rotation(-90)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((90, 160, 3), 150, np.uint8), format="rgb24")))
        container.mux(stream.encode())
    assert run("phone.mp4").exit_code == 0
    captured = CaptureResult.load(tmp_path / "out/capture.npz")
    np.testing.assert_allclose(captured.landmarks[0].mean(axis=0), [45, 80], atol=6)
    overlay = VideoReader(tmp_path / "out/overlay.mp4")
    assert overlay.size == (160, 90 + 160)


def test_grey_video(run, tmp_path):
    with av.open(str(tmp_path / "grey.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(25))
        stream.height, stream.width, stream.pix_fmt = 90, 120, "gray16le"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((90, 120), 257 * 150, np.uint16), format="gray16le")))
        container.mux(stream.encode())
    assert run("grey.mkv").exit_code == 0
    assert CaptureResult.load(tmp_path / "out/capture.npz").codes[0, 1] == pytest.approx(-150 / 255, abs=0.02)


def test_a_truncated_video_gives_what_there_is(run, tmp_path, caplog):
    noise = np.random.default_rng(0).integers(120, 200, (90, 120, 3), np.uint8)
    with VideoWriter(tmp_path / "whole.mp4", 10.0, (90, 120)) as writer:
        for shift in range(40):
            writer.write(np.roll(noise, shift, 0))
    data = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    result = run("cut.mp4")
    assert result.exit_code == 0, result.stderr
    captured = CaptureResult.load(tmp_path / "out/capture.npz")
    assert 0 < len(captured.found) < 40 and "cut.mp4 is damaged or cut short" in caplog.text
    assert sum(1 for _ in VideoReader(tmp_path / "out/overlay.mp4")) == len(captured.found)


def test_of_several_faces_the_largest_and_that_is_said(run, tmp_path, monkeypatch, caplog):
    def find_faces(picture, *, thorough):
        return [FaceSquare(np.array([30.0, 45.0]), 20.0), FaceSquare(np.array([85.0, 45.0]), 40.0)]

    monkeypatch.setattr("serep.models.face_tracker.find_faces", find_faces)
    write_clip(tmp_path / "two.mp4", [150] * 3)
    assert run("two.mp4", "--engine", "torch").exit_code == 0
    captured = CaptureResult.load(tmp_path / "out/capture.npz")
    np.testing.assert_allclose(captured.landmarks.mean(axis=1)[:, 0], 85, atol=4)
    assert [record.message for record in caplog.records] == ["frame 0 shows 2 faces: the largest is captured. Cut the others off if it is not the one"]


def interrupt_at(monkeypatch, where, frame):
    """Ctrl-C while the reader gives this frame, in the given pass over the footage."""
    passes, frames = [], VideoReader.__iter__

    def iterate(self):
        passes.append(0)
        for number, image in enumerate(frames(self)):
            if len(passes) == where and number == frame:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.05)  # the main thread hears of it
            yield image

    monkeypatch.setattr(VideoReader, "__iter__", iterate)


def test_an_interrupted_capture_keeps_what_is_done(run, tmp_path, monkeypatch):
    write_clip(tmp_path / "long.mp4", [120 + number for number in range(60)])
    interrupt_at(monkeypatch, 1, 20)
    result = run("long.mp4")
    assert result.exit_code == 0, result.stderr
    captured = CaptureResult.load(tmp_path / "out/capture.npz")
    count = len(captured.found)
    assert 20 <= count < 60 and captured.found.all()
    assert f"{count} frames; interrupted, of 60 frames; capture.npz, animation.glb, overlay.mp4" in result.stdout
    assert sum(1 for _ in VideoReader(tmp_path / "out/overlay.mp4")) == count and written(tmp_path) == FILES


def test_an_interrupted_drawing_keeps_the_whole_capture(run, tmp_path, monkeypatch):
    write_clip(tmp_path / "long.mp4", [120 + number for number in range(30)])
    interrupt_at(monkeypatch, 2, 5)
    result = run("long.mp4")
    assert result.exit_code == 0 and "overlay.mp4 (interrupted: not all frames)" in result.stdout
    assert len(CaptureResult.load(tmp_path / "out/capture.npz").found) == 30
    assert 0 < sum(1 for _ in VideoReader(tmp_path / "out/overlay.mp4")) < 30


KILLED = """
import os, signal, sys
import pytest
sys.path.insert(0, {tests!r})
from capture_stub import stand_in
from serep.cli import app
from serep.faces import BUILT_IN_HEADS, open_head_model
stand_in(pytest.MonkeyPatch(), open_head_model("makehuman", BUILT_IN_HEADS).topology)
import serep.export.performance as performance
performance.write_overlay = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
app(["capture", "clip.mp4", "--out", "out", "--model", {model!r}])
"""


def test_a_killed_capture_leaves_nothing_that_looks_finished(tmp_path, model_folder):
    write_clip(tmp_path / "clip.mp4", [150] * 5)
    script = KILLED.format(tests=os.path.dirname(__file__), model=str(model_folder))
    assert subprocess.run([sys.executable, "-c", script], cwd=tmp_path, timeout=300, check=False).returncode == -signal.SIGKILL
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left[-1] == "clip.mp4" and len(left) == 2 and left[0].startswith(".out.") and left[0].endswith(".partial")


def test_a_camera_until_interrupted(run, tmp_path, monkeypatch):
    class Device:
        def __init__(self, number):
            self.count = 0

        def isOpened(self):
            return True

        def read(self):
            self.count += 1
            time.sleep(0.01)
            if self.count == 30:
                os.kill(os.getpid(), signal.SIGINT)
            return True, np.full((90, 120, 3), 100 + self.count % 100, np.uint8)

        def get(self, what):
            return 100.0

        def release(self):
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Device)
    result = run("--camera", 0)
    assert result.exit_code == 0, result.stderr
    assert written(tmp_path) == ["animation.glb", "capture.npz"]
    captured = CaptureResult.load(tmp_path / "out/capture.npz")
    assert 1 <= len(captured.found) <= 40 and captured.found.all() and 0 < captured.fps < 110  # how many depends on how busy the machine is
    assert "a second, delay" in result.stdout


def test_what_to_capture_must_be_said_once(run, tmp_path):
    write_clip(tmp_path / "clip.mp4", [150])
    for words in ((), ("clip.mp4", "--camera", 0)):
        result = run(*words)
        assert result.exit_code == 1 and "give a picture or a video, or --camera and its number: one of them" in result.stderr


def test_onnx_folder_that_is_none(run, tmp_path):
    write_clip(tmp_path / "clip.mp4", [150])
    result = run("clip.mp4", "--onnx", tmp_path)
    assert result.exit_code == 1 and ("ONNX Runtime is not installed" in result.stderr or "is no exported network" in result.stderr)
    assert not (tmp_path / "out").exists()


def test_engines_that_cannot_run(run, tmp_path):
    write_clip(tmp_path / "clip.mp4", [150])
    for words, message in ((("--engine", "abacus"), "--engine abacus is unknown: use auto, onnx, torch"),
                           (("--engine", "torch", "--onnx", tmp_path), "--engine torch leaves it out: give one of them"),
                           (("--engine", "onnx"), "this model carries no ONNX export"),
                           (("--engine", "onnx", "--device", "cuda:9"), "CUDA devices")):
        result = run("clip.mp4", *words)
        assert result.exit_code == 1 and message in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_model_without_export_is_captured_by_torch_and_that_is_said(run, tmp_path, caplog):
    write_clip(tmp_path / "clip.mp4", [150])
    assert run("clip.mp4", "--device", "cpu").exit_code == 0
    (record,) = caplog.records
    assert record.message.startswith("torch runs the capture network, more slowly than ONNX Runtime would: this model carries no ONNX export")


def test_export_needs_one_thing_to_export(tmp_path, model_folder):
    for words in ((), ("--out", "a.glb"), ("capture.npz",), ("capture.npz", "--out", "a.glb", "--onnx", "b")):
        result = CliRunner().invoke(app, ["export", *words, "--model", str(model_folder)])
        assert result.exit_code == 1 and "give a capture and --out for an animation, or --onnx and a folder for the model" in result.stderr
