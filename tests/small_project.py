"""A copy of the project at the size of the tests, with its own git and DVC."""
import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Project:
    """A working copy with its own git and DVC; commands run inside it, on its own code."""

    root: Path
    settings: dict[str, str] = field(default_factory=dict)  # of the environment, besides what every project has

    def start(self, *command: str, **options) -> subprocess.Popen:
        return subprocess.Popen(command, cwd=self.root, env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess:
        done = subprocess.run(command, cwd=self.root, env=self.environment(), capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
        return done

    def dvc(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        return self.run(sys.executable, "-m", "dvc", *arguments, check=check)

    def environment(self) -> dict[str, str]:
        binaries = Path(sys.executable).parent
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "PREFECT_", "DVC_", "SEREP_"))}
        return inherited | {"PATH": f"{binaries}:{os.environ['PATH']}", "PYTHONPATH": str(self.root), "DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "true",
                            "PREFECT_SERVER_ANALYTICS_ENABLED": "false"} | self.settings

    def params(self) -> dict:
        return YAML(typ="safe").load((self.root / "params.yaml").read_text())

    def edit_params(self, **values) -> None:
        """Sets dotted keys (dots written as two underscores)."""
        yaml = YAML()
        file = self.root / "params.yaml"
        params = yaml.load(file.read_text())
        for key, value in values.items():
            *parents, last = key.split("__")
            place = params
            for parent in parents:
                place = place[parent]
            place[last] = value
        with file.open("w") as stream:
            yaml.dump(params, stream)

    def lock(self) -> dict[str, dict[str, str]]:
        """Stage → output → md5, of dvc.lock."""
        stages = YAML(typ="safe").load((self.root / "dvc.lock").read_text())["stages"]
        return {name: {out["path"]: out["md5"] for out in stage.get("outs", [])} for name, stage in stages.items()}


def copy_project(target: Path) -> Project:
    """The tracked and new files of this checkout as a fresh repository with tiny params and nothing run."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file() and not name.startswith(("metrics/", "plots/")) and name != "dvc.lock":
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    project = Project(target)
    project.run(sys.executable, "tools/profile.py", "tiny", "--apply")
    project.run("git", "init", "-q")
    commit(project, "tiny")
    return project


def commit(project: Project, message: str) -> None:
    project.run("git", "add", "-A")
    project.run("git", "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "-qm", message)


def load_tool(name: str) -> ModuleType:
    """A script of tools/, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
