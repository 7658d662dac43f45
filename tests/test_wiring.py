"""The graph says what the code does: deps are import closures, paths come from `paths`, params keys exist."""
import re

import pytest
import yaml
from small_project import ROOT, load_tool

GRAPH = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


stage_deps = load_tool("stage_deps")


def _body(name):
    return GRAPH[name].get("do", GRAPH[name])


@pytest.mark.parametrize("name", GRAPH)
def test_code_deps_are_the_import_closure(name):
    closure = stage_deps.import_closure(stage_deps.stage_module(_body(name)["cmd"]))
    assert stage_deps.code_deps(GRAPH[name]) == closure, "run: tools/stage_deps.py --write"


def test_closure_follows_imports_in_functions_and_packages(tmp_path):
    (tmp_path / "serep" / "deep").mkdir(parents=True)
    (tmp_path / "serep" / "__init__.py").write_text("")
    (tmp_path / "serep" / "deep" / "__init__.py").write_text("from .inner import x\n")
    (tmp_path / "serep" / "deep" / "inner.py").write_text("x = 1\n")
    (tmp_path / "serep" / "main.py").write_text("def f():\n    import serep.deep\n")
    expected = {"serep/__init__.py", "serep/main.py", "serep/deep/__init__.py", "serep/deep/inner.py"}
    assert stage_deps.import_closure("serep.main", tmp_path) == expected


@pytest.mark.parametrize("name", GRAPH)
def test_every_path_comes_from_params(name):
    body = _body(name)
    for kind in ("deps", "outs", "metrics", "plots"):
        for entry in body.get(kind, []):
            path = entry if isinstance(entry, str) else next(iter(entry))
            assert path.startswith(("${paths.", "${heads.path}")) or path.endswith((".py", ".js")), f"{name}: {path} is written out in dvc.yaml"


@pytest.mark.parametrize("name", GRAPH)
def test_params_keys_exist(name):
    for key in _body(name).get("params", []):
        place = PARAMS
        section = key.split(".")[0]
        for part in re.sub(r"\$\{key\}", next(iter(PARAMS[section].get("parts", {""}))), key).split("."):
            assert part in place, f"{name}: params.yaml has no {key}"
            place = place[part]


def test_stages_stay_thin():
    for file in (ROOT / "serep" / "stages").glob("[a-z]*.py"):
        assert len(file.read_text().splitlines()) <= 100, f"{file.name}: move logic into the library"


def test_only_the_stage_wrapper_and_entry_points_read_params():
    for file in (ROOT / "serep").rglob("*.py"):
        if file.relative_to(ROOT / "serep").parts[0] in {"stages", "config.py", "cli.py", "doctor.py"}:
            continue
        assert "load_params" not in file.read_text(), f"{file}: a library module takes plain arguments"
