"""Registration on a real store with a stand-in model, and (slow) with the real ones, loaded again in a process of their own."""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file
from typer.testing import CliRunner

from serep.cli import app
from serep.training import champions, release
from serep.training.gate import Bar
from serep.training.interfaces import CAPTURE_PACKAGES
from serep.training.lineage import file_md5, folder_md5
from serep.training.tracking import locked_hashes, model_folder, open_store

SOURCE_ROOT = Path(release.__file__).parents[2]
STAND_IN = """
from pathlib import Path
import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel
from safetensors.numpy import load_file

class Scale(PythonModel):
    def load_context(self, context):
        self.scale = load_file(Path(context.artifacts["model"]) / "weights.safetensors")["scale"]

    def predict(self, context, model_input: np.ndarray, params: dict | None = None) -> np.ndarray:
        if not self.scale.any():
            raise ValueError("a scale of zero")
        return model_input * self.scale

set_model(Scale())
"""
LOCK = "schema: '2.0'\nstages:\n  heads:\n    outs:\n    - {path: data/heads, md5: 0a1b.dir}\n"
PINS = ("mlflow", "numpy", "scipy", "torch", "safetensors", "jaxtyping", "opencv-python-headless")


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Path:
    """A project with the files that a release reads; its database is made once for all tests here."""
    root = tmp_path_factory.mktemp("release")
    for name in ("requirements.lock", "pyproject.toml"):
        shutil.copy(SOURCE_ROOT / name, root)
    (root / "dvc.lock").write_text(LOCK)
    (root / "scale.py").write_text(STAND_IN)
    (root / "scores.json").write_text(json.dumps({"neural": {"error_mm": 0.5, "fine": True, "none": None}, "pca": {"error_mm": 0.7}, "kind": "neural"}))
    return root


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path_factory) -> Path:
    """The working folder: MLflow makes a store there, unasked, whenever something reaches its default one."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def stand_in(store, monkeypatch):
    """Both models replaced by one that multiplies its input; returns a function that writes such a model's folder."""
    interface = release.Interface(
        script=store / "scale.py", packages=("mlflow", "safetensors", "torch"), inputs=("float32", (-1, 3)), outputs={"scaled": ("float32", (-1, 3))},
        options={}, example=np.ones((2, 3), np.float32),
    )
    for name in ("semantic_interface", "capture_interface"):
        monkeypatch.setattr(release, name, lambda folder: replace(interface))

    def write(name: str, scale: float) -> Path:
        folder = store / name
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text('{"kind": "scale"}')
        save_file({"scale": np.full(1, scale, np.float32)}, folder / "weights.safetensors")
        return folder

    return write


ERROR = "score_semantic.released.error_mm.all"
GATE = {"error": Bar(ERROR, "lower", margin=0.1, bound=2.0)}
SCORES = {"score_semantic.error_mm.mouth": 0.5, ERROR: 0.4}


def release_of(store: Path, semantic: Path, capture: Path, *, scores: dict = SCORES, again: bool = False, documents: dict | None = None,
               rescore: release.Rescore | None = None) -> release.Release:
    folders = {release.SEMANTIC: semantic, release.CAPTURE: capture}
    candidate = release.Candidate(folders, scores, ("models",), {"dvc.lock": LOCK, "report.html": "<p>ü"} | (documents or {}))
    return release.release_models(store, candidate, gate=GATE, again=again, rescore=rescore)


def register(store: Path, semantic: Path, capture: Path, **more) -> dict[str, release.ModelVersion]:
    made = release_of(store, semantic, capture, **more)
    assert made.refused is None
    return {version.name: version for version in made.versions}


def aliased(store: Path, alias: str = champions.CHAMPION) -> dict[str, int]:
    client, _ = open_store(store)
    return {model.name: int(model.aliases[alias]) for model in client.search_registered_models() if alias in model.aliases}


def numbers(made: dict[str, release.ModelVersion]) -> dict[str, int]:
    return {name: version.version for name, version in made.items()}


def test_release_is_traceable_loadable_without_pickle_and_made_once(store, stand_in, elsewhere):
    semantic, capture = stand_in("semantic", 2), stand_in("capture", 3)
    before = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW")}
    first = register(store, semantic, capture)
    assert {name: version.created for name, version in first.items()} == {release.SEMANTIC: True, release.CAPTURE: True}
    assert {name: value for name, value in os.environ.items() if name.startswith("MLFLOW")} == before | {
        "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}

    folder = model_folder(f"models:/{release.SEMANTIC}@champion", root=store)
    assert release.folder_digest(folder) == release.folder_digest(semantic)
    packed = folder.parents[1]
    assert not [file for file in packed.rglob("*") if file.suffix in (".pkl", ".pickle") or file.name == "__pycache__"]
    assert (packed / "code" / "serep" / "training" / "release.py").is_file()
    pins = (packed / "requirements.txt").read_text().split()
    assert {pin.split("==")[0] for pin in pins} == {"mlflow", "safetensors", "torch"}
    assert all("==" in pin for pin in pins)
    signature = yaml.safe_load((packed / "MLmodel").read_text())["signature"]
    assert json.loads(signature["inputs"]) == [{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}]

    client, _ = open_store(store)
    version = client.get_model_version(release.SEMANTIC, str(first[release.SEMANTIC].version))
    assert version.tags["data.data/heads"] == locked_hashes(store)["data/heads"] == "0a1b.dir"
    assert len(version.tags["dvc_lock"]) == 64
    assert version.tags["made_from"] == "semantic"
    assert client.get_run(version.run_id).data.metrics == SCORES
    kept = client.download_artifacts(version.run_id, release.DOCUMENTS)
    assert (Path(kept) / "dvc.lock").read_text() == LOCK and (Path(kept) / "report.html").read_text(encoding="utf-8") == "<p>ü"

    again = register(store, semantic, capture)
    assert {name: (version.version, version.created) for name, version in again.items()} == {
        name: (version.version, False) for name, version in first.items()
    }
    assert not list(elsewhere.iterdir())


def test_changed_model_becomes_champion_and_the_old_version_stays(store, stand_in):
    capture = stand_in("capture", 3)
    old = register(store, stand_in("semantic", 2), capture)
    new = register(store, stand_in("semantic", 5), capture)
    assert new[release.SEMANTIC].version > old[release.SEMANTIC].version
    assert new[release.CAPTURE].version == old[release.CAPTURE].version
    assert aliased(store) == aliased(store, champions.CHALLENGER) == numbers(new)
    assert model_folder(f"models:/{release.SEMANTIC}/{old[release.SEMANTIC].version}", root=store).is_dir()


def test_model_that_fails_on_its_example_is_not_promoted(store, stand_in):
    register(store, stand_in("semantic", 2), stand_in("capture", 3))
    before = aliased(store)
    semantic, broken = stand_in("semantic", 7), stand_in("capture", 0)
    with pytest.raises(ValueError, match="a scale of zero"):
        register(store, semantic, broken)
    assert aliased(store) == before


def test_version_whose_files_are_gone_is_registered_anew(store, stand_in):
    semantic, capture = stand_in("semantic", 11), stand_in("capture", 3)
    old = register(store, semantic, capture)[release.SEMANTIC]
    shutil.rmtree(model_folder(f"models:/{release.SEMANTIC}/{old.version}", root=store).parents[1])
    new = register(store, semantic, capture)[release.SEMANTIC]
    assert new.created
    assert new.version > old.version


@pytest.fixture
def traced(store, stand_in, monkeypatch) -> Path:
    """A released model whose dvc.lock tells its whole origin: one stage, one scan; the scan."""
    folder, scan = stand_in("semantic", 53), store / "scan.obj"
    scan.write_text("v 0 0 0")
    stage = {"cmd": "python -m train", "deps": [{"path": "scan.obj", "md5": file_md5(scan)}], "outs": [{"path": "semantic", "md5": folder_md5(folder)}]}
    lock = yaml.safe_dump({"stages": {"train_semantic": stage}})
    (store / "dvc.lock").write_text(lock)
    sources = json.dumps({"scan.obj": {"source": "studio", "licence": "ours"}})
    register(store, folder, stand_in("capture", 3), documents={"dvc.lock": lock, "sources.json": sources})
    for name in ("dvc.yaml", "params.yaml"):
        (store / name).touch()
    monkeypatch.chdir(store)
    monkeypatch.setattr("serep.training.lineage.dvc_cache", lambda root: root / "no cache")
    yield scan
    (store / "dvc.lock").write_text(LOCK)


def test_trace_tells_the_chain_and_verifies_it(store, traced):
    def trace(*words: str):
        return CliRunner().invoke(app, ["trace", "models:/serep-semantic@champion", *words])

    told = trace()
    assert told.exit_code == 0, told.stderr
    lock, md5 = hashlib.sha256((store / "dvc.lock").read_bytes()).hexdigest(), file_md5(traced)
    for line in (f"  dvc.lock  sha256 {lock}", "train_semantic: python -m train", f"  source    scan.obj  md5 {md5}", "            studio; licence: ours",
                 f"  made as   semantic  md5 {folder_md5(store / 'semantic')}"):
        assert line in told.stdout.splitlines()
    assert "verified: 5 hashes recomputed and equal, 0 changed, 0 not here" in trace("--verify").stdout

    shutil.rmtree(store / "semantic")  # the registry has the same bytes
    assert trace("--verify").exit_code == 0
    traced.write_text("v 0 0 1")
    changed = trace("--verify")
    assert changed.exit_code == 1 and f"changed: scan.obj {md5}" in changed.stderr
    traced.unlink()
    assert "absent: scan.obj" in trace("--verify").stderr
    weights = model_folder(f"models:/{release.SEMANTIC}@champion", root=store) / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[::-1])
    assert trace("--verify").stderr.count("changed: registered files") == 2


def test_trace_of_what_is_not_there(store, traced):
    refused = CliRunner().invoke(app, ["trace", "models:/serep-semantic@loser"])
    assert refused.exit_code == 1 and "model 'serep-semantic' has no alias 'loser'" in refused.stderr
    for path in list(store.glob(f"mlartifacts/**/{release.DOCUMENTS}")):
        shutil.rmtree(path)
    assert "no longer has provenance/dvc.lock" in CliRunner().invoke(app, ["trace", "models:/serep-semantic@champion"]).stderr


def test_folder_without_a_model_is_refused(store, stand_in, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no model in .*gone: config\.json is missing \(found: no such folder\)\. Run: make repro"):
        register(store, tmp_path / "gone", stand_in("capture", 3))


def test_scores_are_read_with_those_of_the_released_kind_by_one_name(store, tmp_path):
    scores = release.read_scores({"score_semantic": store / "scores.json"}, released="neural")
    assert scores == {"score_semantic.neural.error_mm": 0.5, "score_semantic.released.error_mm": 0.5, "score_semantic.pca.error_mm": 0.7}
    with pytest.raises(FileNotFoundError, match=r"metrics of benchmark \(.*none\.json\) are missing: .* Run: make repro"):
        release.read_scores({"benchmark": tmp_path / "none.json"}, released="neural")


def test_worse_model_is_challenger_only_and_the_reason_is_said(store, stand_in):
    old = numbers(register(store, stand_in("semantic", 2), stand_in("capture", 3)))
    semantic = stand_in("semantic", 13)
    worse = release_of(store, semantic, stand_in("capture", 3), scores=SCORES | {ERROR: 0.7})
    assert worse.refused == f"{ERROR} is 0.7, worse than the champion's 0.4 by 0.3 (margin 0.1)"
    assert aliased(store) == old
    tried = {version.name: version.version for version in worse.versions}
    assert aliased(store, champions.CHALLENGER) == tried != old
    assert not release_of(store, semantic, stand_in("capture", 3), scores=SCORES | {ERROR: 0.7}).versions[0].created
    for scores, said in [({ERROR: float("nan")}, "is nan"), ({}, "is missing"), ({ERROR: 3}, "beyond its bound 2")]:
        assert said in release_of(store, semantic, stand_in("capture", 3), scores=scores).refused
    assert aliased(store) == old
    better = register(store, semantic, stand_in("capture", 3), scores=SCORES | {ERROR: 0.45})  # measured anew, within the margin
    assert aliased(store) == numbers(better) == tried


def test_rollback_brings_the_champions_before_back_and_the_way_there_is_not_gone_again_unasked(store, stand_in):
    capture = stand_in("capture", 3)
    first = numbers(register(store, stand_in("semantic", 2), capture))
    second = numbers(register(store, stand_in("semantic", 17), capture))
    assert champions.roll_back(store) == (second, first)
    assert aliased(store) == first
    assert release_of(store, stand_in("semantic", 2), capture).refused is None  # the champion itself
    with pytest.raises(ValueError, match=rf"version {second[release.SEMANTIC]} of serep-semantic was rolled back on .* --again"):
        release_of(store, stand_in("semantic", 17), capture)
    assert aliased(store) == first
    assert numbers(register(store, stand_in("semantic", 17), capture, again=True)) == second == aliased(store)
    assert numbers(register(store, stand_in("semantic", 17), capture)) == second


def test_of(people: str, *, code: str = "1") -> dict[str, str]:
    """dvc.lock of a test with these people, scored by this code, of models that are others every time."""
    deps = [{"path": "data/surfaces", "md5": people}, {"path": "models/semantic", "md5": os.urandom(4).hex()}, {"path": "serep/stages/score.py", "md5": code}]
    stages = {"score_semantic": {"cmd": "score", "deps": deps, "params": {"params.yaml": {"semantic.scoring": {"seed": 0}}}}}
    return {"dvc.lock": yaml.safe_dump({"stages": stages})}


test_of.__test__ = False


def test_champion_of_another_test_is_measured_by_the_present_one(store, stand_in):
    capture, champion = stand_in("capture", 3), stand_in("semantic", 59)
    files_of_champion = release.folder_digest(champion)
    old = numbers(register(store, champion, capture, documents=test_of("anna")))
    asked: list[tuple[str, Path]] = []

    def harder(name: str, files: Path) -> dict[str, float]:
        asked.append((name, files))
        return {ERROR: 0.9, "benchmark.of_the_other_model": 1.0}

    same = release_of(store, stand_in("semantic", 61), capture, scores=SCORES | {ERROR: 0.7}, documents=test_of("anna"), rescore=harder)
    assert "worse than the champion's 0.4" in same.refused and not asked and same.other_tests == {} and not same.rescored

    made = release_of(store, stand_in("semantic", 61), capture, scores=SCORES | {ERROR: 0.7}, documents=(tests := test_of("ben", code="2")), rescore=harder)
    assert made.refused is None and made.rescored
    assert made.other_tests == {release.SEMANTIC: ("score_semantic: data/surfaces", "score_semantic: its code")}
    assert [(name, release.folder_digest(files)) for name, files in asked] == [(release.SEMANTIC, files_of_champion)]
    assert made.verdicts[0].champion == 0.9
    assert aliased(store) != old
    assert release.champion_scores(store, {release.SEMANTIC: old[release.SEMANTIC]}) == {ERROR: 0.9}  # kept: the next release compares at once

    champions.roll_back(store)
    again = release_of(store, stand_in("semantic", 61), capture, scores=SCORES | {ERROR: 1.5}, documents=tests, rescore=harder)
    assert "worse than the champion's 0.9 by 0.6" in again.refused and len(asked) == 1


def test_new_version_is_said_to_be_new_although_the_champion_was_measured_meanwhile(store, stand_in):
    capture = stand_in("capture", 3)
    register(store, stand_in("semantic", 79), capture, documents=test_of("anna"))
    made = release_of(store, stand_in("semantic", 83), capture, documents=test_of("ben"), rescore=lambda name, files: {ERROR: 0.4})
    assert made.rescored and [version.created for version in made.versions] == [True, False]


def test_champion_that_cannot_be_measured_stays_unless_its_stored_numbers_are_to_do(store, stand_in):
    capture = stand_in("capture", 3)
    old = numbers(register(store, stand_in("semantic", 71), capture, documents=test_of("anna")))

    def fails(name: str, files: Path) -> dict[str, float]:
        raise RuntimeError("another topology")

    made = release_of(store, stand_in("semantic", 73), capture, documents=test_of("ben"), rescore=fails)
    assert made.refused == (
        f"the champion, version {old[release.SEMANTIC]} of serep-semantic, was measured by another test (what differs: score_semantic: data/surfaces), and "
        "cannot be measured by this one: another topology\nMend that, or compare with its stored numbers: python -m flows.release --stored-scores")
    assert aliased(store) == old and not made.rescored
    forced = release_of(store, stand_in("semantic", 73), capture, documents=test_of("ben"))
    assert forced.refused is None and forced.other_tests == {release.SEMANTIC: ("score_semantic: data/surfaces",)} and not forced.rescored
    assert aliased(store) != old


def test_rollback_to_a_model_whose_files_are_gone_changes_nothing(store, stand_in):
    capture = stand_in("capture", 3)
    first = register(store, stand_in("semantic", 23), capture)[release.SEMANTIC]
    second = numbers(register(store, stand_in("semantic", 29), capture))
    shutil.rmtree(model_folder(f"models:/{release.SEMANTIC}/{first.version}", root=store).parents[1])
    with pytest.raises(FileNotFoundError, match=rf"files of model 'serep-semantic' version {first.version} are not at"):
        champions.roll_back(store)
    assert aliased(store) == second


def test_nothing_to_roll_back(store, stand_in, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(FileNotFoundError, match=r"no model has been released\. Run: make repro"):
        champions.roll_back(store)


class Killed(BaseException):
    pass


def test_promotion_killed_half_way_is_finished_by_the_next_release(store, stand_in, monkeypatch):
    old = numbers(register(store, stand_in("semantic", 31), stand_in("capture", 3)))
    client, _ = open_store(store)
    moves, real = [], type(client).set_registered_model_alias

    def killed(self, name: str, alias: str, version: str) -> None:
        if alias == champions.CHAMPION:
            moves.append(name)
            if len(moves) == 2:
                raise Killed
        real(self, name, alias, version)

    with monkeypatch.context() as patch:
        patch.setattr(type(client), "set_registered_model_alias", killed)
        with pytest.raises(Killed):
            release_of(store, stand_in("semantic", 37), stand_in("capture", 41))
    torn = aliased(store)
    assert torn[moves[0]] != old[moves[0]] and torn[moves[1]] == old[moves[1]]
    now, before = champions.roll_back(store)
    assert before == aliased(store) == old
    assert all(now[name] != old[name] for name in old)


def test_second_release_at_once_is_refused(store, stand_in):
    started, refused = threading.Event(), []

    def other() -> None:
        started.wait(30)
        try:
            with champions.release_lock(store, wait_s=0.1):
                refused.append("not")
        except RuntimeError as error:
            refused.append(str(error))

    thread = threading.Thread(target=other)
    thread.start()
    with champions.release_lock(store):
        started.set()
        thread.join(30)
    assert "another release of this project has been running for 0.1 s" in refused[0]
    register(store, stand_in("semantic", 2), stand_in("capture", 3))


def test_digest_depends_on_names_and_bytes(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "a").write_text("1")
    digests = [release.folder_digest(folder)]
    (folder / "a").rename(folder / "b")
    digests.append(release.folder_digest(folder))
    (folder / "b").write_text("2")
    digests.append(release.folder_digest(folder))
    assert len(set(digests)) == 3


def test_pins_come_from_the_lock_and_for_torch_from_pyproject():
    pins = release.pinned(PINS, root=SOURCE_ROOT)
    assert [pin.split("==")[0] for pin in pins] == list(PINS)
    lock = (SOURCE_ROOT / "requirements.lock").read_text().split()
    assert [pin for pin in pins if pin not in lock] == [pin for pin in pins if pin.startswith("torch==")]


def test_package_without_a_pin_is_named():
    with pytest.raises(ValueError, match="no exact version of no-such-package in"):
        release.pinned(["numpy", "no-such-package"], root=SOURCE_ROOT)


def run_python(code: str, *arguments: str, cwd: Path) -> str:
    environment = {**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    answer = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def test_every_package_that_the_models_import_is_pinned():
    """Of what pyproject.toml asks for; what those need in turn is pip's business."""
    code = """
        import importlib.metadata, json, sys
        import serep.models.capture
        names = importlib.metadata.packages_distributions()
        loaded = {name for module in sys.modules for name in names.get(module.partition(".")[0], [])}
        asked = {requirement.split(">")[0].split("=")[0].split("<")[0].strip() for requirement in importlib.metadata.requires("serep")}
        print(json.dumps(sorted(loaded & asked)))
    """
    assert set(json.loads(run_python(code, cwd=SOURCE_ROOT))) <= set(CAPTURE_PACKAGES)


@pytest.fixture(scope="session")
def fitted_folders(topology, tmp_path_factory) -> tuple[Path, Path]:
    """Untrained models of the real kinds."""
    import torch

    from serep.models.capture import CaptureModel, CaptureSettings
    from serep.models.capture_network import ENCODERS, CaptureNetwork
    from serep.models.face_tracker import TrackingSettings
    from serep.models.semantic import DisplacementPca
    from serep.models.smoothing import OneEuro

    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    semantic = DisplacementPca(topology, code_size=4)
    semantic.modes.copy_(torch.linalg.qr(torch.randn(3 * len(topology.template), 4))[0].T)
    semantic.decoder.matrix.copy_(torch.eye(4))
    semantic.save(folder / "semantic")
    sizes = {"image_size": 64, "code_size": 4, "landmark_count": len(topology.landmark_ids), "local_width": 2, "hidden_width": 8}
    network = CaptureNetwork(encoder=next(iter(ENCODERS)), **sizes)
    tracking = TrackingSettings(crop_scale=1.6, batch_frames=4, recentre_beyond=0.2, presence_threshold=0.5, patience_frames=5, thorough_every=10)
    smoothing = OneEuro(1.0, 0.1, 1.0)
    settings = CaptureSettings(tracking, field_of_view_deg=50.0, code_smoothing=smoothing, landmark_smoothing=smoothing, pose_smoothing=smoothing)
    CaptureModel(network, semantic, topology.landmark_ids, settings).save(folder / "capture")
    return folder / "semantic", folder / "capture"


@pytest.mark.slow
def test_real_models_are_released_and_work_in_a_process_of_their_own(store, fitted_folders, topology, tmp_path):
    semantic, capture = fitted_folders
    versions = register(store, semantic, capture)
    answers = tmp_path / "answers.npz"
    code = """
        import sys
        import mlflow, numpy as np

        root, out, semantic, capture = sys.argv[1:]
        mlflow.set_tracking_uri(f"sqlite:///{root}/mlflow.db")
        model = mlflow.pyfunc.load_model(semantic)
        codes = np.array([[0, 0, 0, 0], [1, -2, 3, 0]], np.float32)
        meshes = model.predict(codes)
        again = model.predict(meshes.reshape(2, -1), params={"mode": "encode"})
        clip = mlflow.pyfunc.load_model(capture).predict(np.full((3, 120, 160, 3), 99, np.uint8), params={"fps": 30.0})
        np.savez(out, meshes=meshes, codes=codes, again=again, **{f"clip_{name}": value for name, value in clip.items()})
        import serep
        print("from", serep.__file__)
    """
    uris = [f"models:/{name}@champion" for name in (release.SEMANTIC, release.CAPTURE)]
    said = run_python(code, str(store), str(answers), *uris, cwd=tmp_path)
    assert f"from {store / 'mlartifacts'}" in said
    with np.load(answers, allow_pickle=False) as found:
        np.testing.assert_allclose(found["meshes"][0], topology.template, atol=1e-3)
        assert np.abs(found["meshes"][1] - topology.template).max() > 1e-3
        np.testing.assert_allclose(found["again"], found["codes"], atol=1e-3)
        assert found["clip_codes"].shape == (3, 4)
        assert found["clip_vertices"].shape == (3, len(topology.template), 3)
        assert found["clip_landmarks"].shape == (3, len(topology.landmark_ids), 2)
        assert found["clip_found"].dtype == bool
        assert all(np.isfinite(found[name]).all() for name in found.files)
    assert register(store, semantic, capture)[release.SEMANTIC].version == versions[release.SEMANTIC].version


SERVED = """
    import json, sys
    import mlflow, numpy as np
    from fastapi.testclient import TestClient
    from mlflow.pyfunc import scoring_server

    root, requests = sys.argv[1:]
    mlflow.set_tracking_uri(f"sqlite:///{root}/mlflow.db")
    for uri, bodies in json.load(open(requests)).items():
        client = TestClient(scoring_server.init(mlflow.pyfunc.load_model(uri)))
        for body in bodies:
            answer = client.post("/invocations", json=body)
            print(json.dumps([answer.status_code, answer.json()]))
"""


@pytest.mark.slow
def test_served_models_answer_and_say_what_is_wrong_with_a_request(store, fitted_folders, topology, tmp_path, monkeypatch):
    register(store, *fitted_folders)
    monkeypatch.setenv("SEREP_REQUEST_MB", "0.5")
    frames = np.full((2, 40, 50, 3), 99).tolist()
    requests = {
        f"models:/{release.SEMANTIC}@champion": [
            {"inputs": [[0, 0, 0, 0], [1, 0, 0, 0]]},
            {"inputs": [[0, 0, 0]]},
            {"inputs": [[0, 0, 0, 0]], "params": {"mode": "draw"}},
            {"inputs": [[0, 0, 0, None]]},
            {"inputs": [[0, 0, 0, 0]] * 1000},
            {"codes": 1},
        ],
        f"models:/{release.CAPTURE}@champion": [
            {"inputs": frames},
            {"inputs": frames[0]},
            {"inputs": np.zeros((1, 8, 8, 4), int).tolist()},
            {"inputs": frames, "params": {"fps": 0}},
            {"inputs": np.zeros((1, 500, 500, 3), int).tolist()},
        ],
    }
    (tmp_path / "requests.json").write_text(json.dumps(requests))
    told = run_python(SERVED, str(store), str(tmp_path / "requests.json"), cwd=tmp_path)
    said = [json.loads(line) for line in told.splitlines() if line.startswith("[")]
    assert np.shape(said[0][1]["predictions"]) == (2, len(topology.template), 3) and said[0][0] == 200
    assert {name: np.shape(value) for name, value in said[6][1]["predictions"].items()} == {
        "codes": (2, 4), "vertices": (2, len(topology.template), 3), "landmarks": (2, len(topology.landmark_ids), 2), "found": (2,)}
    reasons = {
        1: "decode takes rows of 4 numbers, got an array of shape (1, 3)", 2: "unknown mode 'draw'. Use one of: decode, encode",
        3: "row 0 has others", 4: "the answer would have", 5: "inputs", 7: "expected", 8: "(-1, -1, -1, 3)", 9: "fps must be above 0", 10: "the request has 1 MB",
    }
    for number, reason in reasons.items():
        status, answer = said[number]
        assert status == 400 and reason in answer["message"], (number, answer)
