"""Looks at the machine: what works, what does not, and what to do about it."""
from __future__ import annotations

import importlib.metadata
import io
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MINIMUM_PYTHON = (3, 11)
GL_PACKAGES = "apt-get install --no-install-recommends libegl1 libgl1"
CASCADES = ("haarcascade_frontalface_default.xml", "haarcascade_frontalface_alt2.xml", "haarcascade_profileface.xml")
INSTALL = "install the project again: tools/setup.sh"
RELEASE = "run: make repro, then python -m flows.release"
OPEN_GL = """
from serep.render.opengl import open_context
open_context()
from OpenGL.GL import GL_RENDERER, GL_VERSION, glGetString
print(glGetString(GL_RENDERER).decode(), "/ OpenGL", glGetString(GL_VERSION).decode())
"""


@dataclass(frozen=True)
class Check:
    """One line of the report; `advice` is what to do unless all is well."""

    name: str
    state: Literal["ok", "warn", "fail"]
    finding: str
    advice: str = ""


def checks(root: Path | None, tracking_uri: str | None) -> Iterator[Check]:
    """Every check in turn, as it ends; `root` and `tracking_uri` are those of the project around the working folder, None outside of one."""
    for look in (python, torch_device, capture_engine, numba_compiler, graphics, video_codec, face_cascades):
        yield look()
    yield from project_stores(root, tracking_uri)


def python() -> Check:
    finding = f"{platform.python_version()} at {sys.executable}, {os.cpu_count()} cores"
    if sys.version_info < MINIMUM_PYTHON:
        return Check("Python", "fail", finding, f"use Python {'.'.join(map(str, MINIMUM_PYTHON))} or newer: tools/setup.sh makes an environment")
    return Check("Python", "ok", finding)


def _imported(name: str, package: str, look: Callable[[], Check]) -> Check:
    """What `look` finds, or a failure when the package cannot be imported."""
    try:
        return look()
    except (ImportError, OSError) as problem:  # OSError: a library that a wheel needs is missing
        return Check(name, "fail", f"{package} cannot be imported: {problem}", INSTALL)


def torch_device() -> Check:
    def look() -> Check:
        import torch

        from serep.models.device import best_device

        device = best_device("auto")
        if device.type == "cuda":
            return Check("torch", "ok", f"{torch.__version__} on {torch.cuda.get_device_name(device)}")
        finding = f"{torch.__version__} on {device.type}, {torch.get_num_threads()} threads"
        if torch.version.cuda and shutil.which("nvidia-smi"):
            return Check("torch", "warn", f"{finding}; torch cannot use this machine's NVIDIA driver", "update the driver, or stay on the CPU")
        return Check("torch", "ok", finding)

    return _imported("torch", "torch", look)


def capture_engine() -> Check:
    """What runs the capture network on the device that SEREP_DEVICE names, as `serep capture` chooses it."""

    def look() -> Check:
        from serep.models.device import best_device

        try:
            device = best_device(os.environ.get("SEREP_DEVICE") or "auto")
        except (ValueError, RuntimeError) as problem:
            return Check("capture engine", "fail", f"SEREP_DEVICE: {problem}", "set SEREP_DEVICE to auto, or unset it")
        if device.type != "cpu":
            return Check("capture engine", "ok", f"torch on {device.type}")
        try:
            import onnxruntime
        except ImportError as problem:
            return Check("capture engine", "warn", f"torch on the CPU, more slowly: ONNX Runtime cannot be imported ({problem})", INSTALL)
        return Check("capture engine", "ok", f"ONNX Runtime {onnxruntime.__version__} on the CPU; torch for models that carry no ONNX export")

    return _imported("capture engine", "torch", look)


def numba_compiler() -> Check:
    def look() -> Check:
        import numba

        from serep.render.compiled import cache_folder

        answer = numba.njit(lambda number: number + 1)(41)
        folder = cache_folder()
        if answer != 42:
            return Check("numba", "fail", f"{numba.__version__} compiles, but 41 + 1 gave {answer}", INSTALL)
        if folder is None:
            return Check("numba", "warn", f"{numba.__version__}, but no folder keeps compiled code", "set XDG_CACHE_HOME to one you may write")
        return Check("numba", "ok", f"{numba.__version__}, compiled code kept in {folder}")

    return _imported("numba", "numba", look)


def graphics(timeout_s: float = 60.0) -> Check:
    """Opens a context in a process of its own: a broken driver may end the process that asks it."""
    advice = f"{GL_PACKAGES}; without it pictures are drawn by the numba backend"
    try:
        answer = subprocess.run([sys.executable, "-c", OPEN_GL], capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return Check("OpenGL (EGL)", "warn", f"no context within {timeout_s:.0f} s", advice)
    if answer.returncode:
        last = (answer.stderr.strip().splitlines() or [f"the test ended with status {answer.returncode}"])[-1]
        return Check("OpenGL (EGL)", "warn", f"no context: {last.removeprefix('RuntimeError: ')[:200]}", advice)
    return Check("OpenGL (EGL)", "ok", answer.stdout.strip())


def video_codec() -> Check:
    """Writes four frames of H.264 to memory and reads them back."""

    def look() -> Check:
        import av
        import numpy as np

        finding = f"PyAV {av.__version__}, FFmpeg libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"
        memory = io.BytesIO()
        try:
            with av.open(memory, "w", format="mp4") as container:
                stream = container.add_stream("libx264", rate=25)
                stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
                for _ in range(4):
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
                container.mux(stream.encode())
            memory.seek(0)
            with av.open(memory) as container:
                count = sum(1 for _ in container.decode(video=0))
        except (av.FFmpegError, ValueError) as problem:
            return Check("video", "fail", f"{finding}: H.264 cannot be written ({problem})", f"{INSTALL} (the PyPI wheel of av holds libx264)")
        if count != 4:
            return Check("video", "fail", f"{finding}: of 4 frames written {count} could be read", INSTALL)
        return Check("video", "ok", f"{finding}, H.264 by libx264")

    return _imported("video", "av", look)


def face_cascades() -> Check:
    def look() -> Check:
        import cv2

        folder = Path(getattr(getattr(cv2, "data", None), "haarcascades", ""))
        unusable = [name for name in CASCADES if not (folder / name).is_file() or cv2.CascadeClassifier(str(folder / name)).empty()]
        if unusable:
            advice = "install opencv-python-headless of version 4: version 5 has no cascades"
            return Check("face detector", "fail", f"OpenCV {cv2.__version__} lacks {', '.join(unusable)}", advice)
        return Check("face detector", "ok", f"OpenCV {cv2.__version__} with its cascades")

    return _imported("face detector", "cv2", look)


def project_stores(root: Path | None, tracking_uri: str | None) -> Iterator[Check]:
    """The DVC pipeline and the MLflow registry of a project."""
    if root is None or tracking_uri is None:
        yield Check("project", "ok", "the working folder is in no project: models can be used by their folder, or through MLFLOW_TRACKING_URI")
        return
    yield _pipeline(root)
    yield _server(tracking_uri) if tracking_uri.startswith("http") else _database(tracking_uri)


def _pipeline(root: Path) -> Check:
    try:
        version = importlib.metadata.version("dvc")
    except importlib.metadata.PackageNotFoundError:
        return Check("DVC", "fail", "dvc is not installed", INSTALL)
    if not (root / ".dvc").is_dir():
        return Check("DVC", "fail", f"{version}, but {root} has no folder .dvc", f"cd {root} && dvc init")
    if not os.access(root / ".dvc", os.W_OK):
        return Check("DVC", "fail", f"{version}, but {root / '.dvc'} may not be written", "give this user the right to write there")
    if not (root / "dvc.lock").is_file():
        return Check("DVC", "warn", f"{version}, the pipeline of {root} has not run yet", "run: make repro")
    return Check("DVC", "ok", f"{version}, pipeline in {root}")


def _server(uri: str) -> Check:
    try:
        with urllib.request.urlopen(uri.rstrip("/") + "/health", timeout=5) as answer:
            return Check("MLflow", "ok", f"{uri} answers {answer.status}")
    except (urllib.error.URLError, TimeoutError) as problem:
        return Check("MLflow", "warn", f"{uri} does not answer ({problem})", "start the server, or correct MLFLOW_TRACKING_URI")


def _database(uri: str) -> Check:
    """Reads the SQLite file itself: importing MLflow takes seconds, and opening its store would create what is not there."""
    if not uri.startswith("sqlite:///"):
        return Check("MLflow", "ok", f"store {uri} (not looked into)")
    path = Path(uri.removeprefix("sqlite:///"))
    if not path.is_file():
        return Check("MLflow", "warn", f"no store {path} yet: no model has been released", RELEASE)
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        try:
            released = connection.execute("select name, alias, version from registered_model_aliases order by name, alias").fetchall()
        finally:
            connection.close()
    except sqlite3.OperationalError as problem:  # no tables yet, or locked by a run in progress
        return Check("MLflow", "warn", f"{path} cannot be asked for released models now ({problem})", RELEASE)
    except sqlite3.DatabaseError as problem:
        return Check("MLflow", "fail", f"{path} cannot be read ({problem})", f"set the file aside and release again: {RELEASE}")
    if not released:
        return Check("MLflow", "warn", f"{path} holds no released model", RELEASE)
    return Check("MLflow", "ok", ", ".join(f"{name}@{alias} is version {version}" for name, alias, version in released))
