"""DVC stage `report`: everything that was measured on one self-contained page."""
import csv
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import yaml

from serep.benchmark.report import write_report
from serep.benchmark.report_content import ReportContent
from serep.benchmark.report_sections import benchmark_section, capture_section, data_section, semantic_section, training_section
from serep.data.heads import read_heads, read_quarantine
from serep.data.shards import open_part
from serep.stages._stage import stage, write_folder

CONTACT_IMAGES, GREY = 64, 118
LIBRARIES = ("torch", "numpy", "scipy", "zarr", "pyarrow", "pyrender", "numba", "opencv-python-headless", "dvc", "mlflow", "prefect")


def main() -> None:
    with stage("report") as run:
        params, paths = run.params, run.params.paths
        for path in (paths.surfaces, paths.semantic_scores, paths.renders, paths.capture_scores, paths.benchmark, paths.metrics, paths.plots):
            run.input(path)
        metrics = {file.stem: json.loads(file.read_text()) for file in sorted(paths.metrics.glob("*.json"))}
        heads = read_heads(paths.surfaces)
        train = heads.select("train")
        parts = {name: open_part(paths.part(name)) for name in params.render.parts}
        used = sorted({part.description["renderer"]["renderer"] for part in parts.values()})
        released, real_faces = params.semantic.kind, metrics["train_capture"]["real_faces"]
        off = "" if real_faces and params.capture.training.loss_weights.domain else (
            f"no face was found in {paths.real_images}/" if not real_faces else "its loss weight is 0")
        content = ReportContent(
            title="serep: from meshes to capture",
            introduction=f"Heads from {heads.provenance['source']}: {len(train.neutrals)} people trained on, {len(heads.select('test').neutrals)} tested.",
            key_numbers=(
                ("retargeting, unseen people and expressions", f"{metrics['score_semantic'][released]['retargeting_mm']:.3f} mm"),
                ("capture on test renders", "{:.2f} mm of {:.2f} mm motion".format(*(metrics["score_capture"][row]["vertex_mm"] for row in ("ours", "neutral")))),
                ("five-view benchmark", f"{metrics['benchmark']['methods']['capture']['mean_mm']:.2f} mm")),
            data=data_section(*_contact_images(parts[params.render.parts_of("train")[0]]), train.weights, heads.expression_names,
                              {name: metrics[f"render_{name}"] for name in parts}),
            semantic=semantic_section(metrics["score_semantic"], _arrays(paths.semantic_scores / "examples.npz"), heads.topology, released=released),
            capture=capture_section(metrics["score_capture"], _arrays(paths.capture_scores / "examples.npz"),
                                    text=f"Real faces for the domain classifier: {real_faces}."),
            benchmark=benchmark_section(metrics["benchmark"], _arrays(paths.benchmark / "examples.npz"), _arrays(paths.benchmark / "vertex_errors.npz"),
                                        heads.topology),
            training=training_section({file.stem: _curve(file) for file in sorted(paths.plots.glob("*.csv"))}),
            renderer_requested=params.render.backend, renderer_used=", ".join(used), adversarial_off=off,
            quarantined=tuple(read_quarantine(paths.surfaces)),
            provenance=(*heads.provenance.items(), ("renderer", metrics[f"render_{next(iter(parts))}"]["renderer"])),
            versions=tuple((name, version(name)) for name in LIBRARIES),
            licences=(("heads", heads.provenance["licence"]), ("serep", "Apache-2.0")), data_hashes=_hashes(run.root / "dvc.lock"),
            params=params.model_dump(mode="json"))

        def write(folder: Path) -> None:
            folder.mkdir(parents=True)
            write_report(folder / "index.html", content)

        write_folder(paths.report, write)
        run.tracker.log_file(paths.report / "index.html")


def _contact_images(part) -> tuple[np.ndarray, list[str]]:
    rows = np.linspace(0, len(part) - 1, min(CONTACT_IMAGES, len(part))).astype(int)
    grey = np.uint8(GREY)
    images = [np.where(part.mask(int(row))[..., None] > 0, part.rgb(int(row)), grey) for row in rows]
    return np.stack(images), []


def _arrays(file: Path) -> dict[str, np.ndarray]:
    with np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _curve(file: Path) -> list[dict[str, float]]:
    with file.open(newline="") as stream:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(stream)]


def _hashes(lock: Path) -> tuple[tuple[str, str], ...]:
    """Of every output made before this stage, as DVC recorded them."""
    stages = (yaml.safe_load(lock.read_text()) or {})["stages"] if lock.is_file() else {}
    return tuple(sorted((out["path"], out["md5"]) for name, entry in stages.items() if name != "report" for out in entry.get("outs", [])))


if __name__ == "__main__":
    main()
