"""What several tests of parts do: compare results, and draw a part in a process that can be killed."""
import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

from serep.synthesis.plan import PartInputs, PartPlan
from serep.synthesis.workers import Workers

ROOT = Path(__file__).parents[2]
ONE, TWO = Workers("processes", 1), Workers("processes", 2)

RUN = """
import json, sys
from pathlib import Path
from serep.render.sampling import SceneRanges
from serep.synthesis.codes import CodeMix
from serep.synthesis.parts import draw_part
from serep.synthesis.plan import PartInputs, PartPlan
from serep.synthesis.workers import Workers

if __name__ == "__main__":
    values = json.loads(Path(sys.argv[1]).read_text())
    plan = PartPlan(**(values["plan"] | {"ranges": SceneRanges(**values["plan"]["ranges"]), "codes": CodeMix(**values["plan"]["codes"])}))
    paths = {name: Path(value) if name != "head_source" else value for name, value in values["inputs"].items()}
    draw_part(plan, PartInputs(**paths), Path(values["folder"]), workers=Workers(**values["workers"]), store=values["store"])
"""


def fingerprint(folder: Path) -> dict[str, str]:
    """Of a part: without the records of who drew it."""
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.rglob("*"))
            if file.is_file() and "records.partial" not in file.parts}


def start_run(scratch: Path, plan: PartPlan, inputs: PartInputs, folder: Path, *, workers: Workers = ONE, store: str | None = None,
              **environment: str) -> subprocess.Popen:
    """Draws the part in a process of its own."""
    scratch.mkdir(parents=True, exist_ok=True)
    paths = {name: str(value) for name, value in dataclasses.asdict(inputs).items() if name != "head_options"}
    (scratch / "run.json").write_text(json.dumps({"plan": dataclasses.asdict(plan), "inputs": paths, "folder": str(folder), "store": store,
                                                  "workers": dataclasses.asdict(workers)}))
    (scratch / "run.py").write_text(RUN)
    return subprocess.Popen([sys.executable, str(scratch / "run.py"), str(scratch / "run.json")], env={"PYTHONPATH": str(ROOT)} | environment,
                            stderr=subprocess.PIPE, text=True)
