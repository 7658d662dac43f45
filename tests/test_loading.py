import pytest
from capture_stub import write_capture_model

import serep
from serep.models.capture import CaptureModel
from serep.models.semantic import SemanticModel


@pytest.fixture(scope="module")
def folder(tmp_path_factory, topology):
    folder = tmp_path_factory.mktemp("model")
    write_capture_model(folder, topology)
    return folder


def test_the_folder_says_which_kind_it_is(folder):
    assert isinstance(serep.load_model(folder), CaptureModel)
    assert isinstance(serep.load_model(str(folder / "semantic")), SemanticModel)


def test_a_registered_model_comes_from_the_project(folder, tmp_path, monkeypatch):
    asked = []

    def model_folder(uri, *, root):
        asked.append((uri, root))
        return folder

    monkeypatch.setattr("serep.loading.model_folder", model_folder)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(FileNotFoundError, match="MLFLOW_TRACKING_URI"):
        serep.load_model("models:/serep-capture@champion")
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).touch()
    assert isinstance(serep.load_model("models:/serep-capture@champion"), CaptureModel)
    serep.load_model("models:/serep-capture/2", root=tmp_path)
    (tmp_path / "dvc.yaml").unlink()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://models.example")
    serep.load_model("models:/serep-capture/3")
    assert asked == [
        ("models:/serep-capture@champion", tmp_path), ("models:/serep-capture/2", tmp_path), ("models:/serep-capture/3", tmp_path / "below"),
    ]  # fmt: skip


def test_folders_without_a_model(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model folder"):
        serep.load_model(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        serep.load_model(tmp_path)
