import sqlite3
import subprocess
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from serep import doctor


def test_this_machine_can_run_the_pipeline():
    """The pinned environment has all that is needed; graphics may be missing."""
    found = list(doctor.checks(None, None))
    assert [check.name for check in found] == ["Python", "torch", "capture engine", "numba", "OpenGL (EGL)", "video", "face detector", "project"]
    assert not [check for check in found if check.state == "fail"]
    assert all(check.advice for check in found if check.state != "ok")


def test_old_python(monkeypatch):
    monkeypatch.setattr(doctor, "MINIMUM_PYTHON", (9, 0))
    check = doctor.python()
    assert check.state == "fail" and "9.0" in check.advice


def test_a_package_that_cannot_be_imported(monkeypatch):
    import sys

    for name, look in (("av", doctor.video_codec), ("cv2", doctor.face_cascades), ("torch", doctor.torch_device), ("numba", doctor.numba_compiler)):
        monkeypatch.setitem(sys.modules, name, None)
        check = look()
        assert check.state == "fail" and name in check.finding and "tools/setup.sh" in check.advice


def test_which_engine_captures(monkeypatch):
    import sys

    import torch

    monkeypatch.setenv("SEREP_DEVICE", "cpu")
    check = doctor.capture_engine()
    assert check.state == "ok" and "ONNX Runtime" in check.finding and "torch for models that carry no ONNX export" in check.finding
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    check = doctor.capture_engine()
    assert check.state == "warn" and "torch on the CPU, more slowly" in check.finding and "tools/setup.sh" in check.advice
    monkeypatch.setattr("serep.models.device.best_device", lambda name: torch.device("cuda"))
    assert doctor.capture_engine().finding == "torch on cuda"
    monkeypatch.undo()
    monkeypatch.setenv("SEREP_DEVICE", "abacus")
    check = doctor.capture_engine()
    assert check.state == "fail" and "unknown device 'abacus'" in check.finding


def test_missing_cascades(monkeypatch):
    monkeypatch.setattr(doctor, "CASCADES", ("haarcascade_of_nothing.xml",))
    check = doctor.face_cascades()
    assert check.state == "fail" and "haarcascade_of_nothing.xml" in check.finding and "version 4" in check.advice


def test_cascades_are_those_that_the_capture_uses():
    from serep.models import face_boxes

    used = {cascade.file for cascade in (*face_boxes.FRONTAL, face_boxes.PROFILE)}
    assert used <= set(doctor.CASCADES)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (subprocess.CompletedProcess([], 1, "", "Traceback\nRuntimeError: no libEGL here"), "no context: no libEGL here"),
        (subprocess.CompletedProcess([], -11, "", ""), "ended with status -11"),
        (subprocess.TimeoutExpired("python", 60), "within 60 s"),
    ],
)
def test_graphics_that_fail_are_a_warning(monkeypatch, answer, words):
    def run(*_, **__):
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr(subprocess, "run", run)
    check = doctor.graphics()
    assert check.state == "warn" and words in check.finding and doctor.GL_PACKAGES in check.advice and "numba" in check.advice


def test_a_project_that_has_not_run(tmp_path):
    pipeline, registry = doctor.project_stores(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert pipeline.state == "fail" and "dvc init" in pipeline.advice
    assert registry.state == "warn" and "no model has been released" in registry.finding and "flows.release" in registry.advice
    (tmp_path / ".dvc").mkdir()
    assert next(doctor.project_stores(tmp_path, "")).advice == "run: make repro"
    (tmp_path / "dvc.lock").touch()
    assert next(doctor.project_stores(tmp_path, "")).state == "ok"
    assert not (tmp_path / "mlflow.db").exists()


def test_registry_file(tmp_path):
    path = tmp_path / "mlflow.db"
    uri = f"sqlite:///{path}"
    path.write_bytes(b"this is no database" * 100)
    assert doctor._database(uri).state == "fail"
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("create table something (x)")
    assert doctor._database(uri).state == "warn"
    with sqlite3.connect(path) as connection:
        connection.execute("create table registered_model_aliases (name, alias, version)")
    assert "no released model" in doctor._database(uri).finding
    with sqlite3.connect(path) as connection:
        connection.execute("insert into registered_model_aliases values ('serep-capture', 'champion', 3)")
    check = doctor._database(uri)
    assert check.state == "ok" and check.finding == "serep-capture@champion is version 3"


def test_registry_file_as_mlflow_writes_it(tmp_path):
    """The table that the doctor reads is the one that MLflow has."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.create_registered_model("serep-capture")
    client.create_model_version("serep-capture", source=str(tmp_path))
    assert doctor._database(uri).state == "warn"
    client.set_registered_model_alias("serep-capture", "champion", "1")
    assert doctor._database(uri).finding == "serep-capture@champion is version 1"


def test_registry_server():
    class Health(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Health)
    Thread(target=server.serve_forever, daemon=True).start()
    uri = f"http://127.0.0.1:{server.server_port}"
    try:
        assert doctor._server(uri).state == "ok"
    finally:
        server.shutdown()
        server.server_close()
    check = doctor._server(uri)
    assert check.state == "warn" and "MLFLOW_TRACKING_URI" in check.advice
