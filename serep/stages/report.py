"""DVC stage `report`: everything that was measured on one self-contained page."""
import json
from importlib.metadata import version
from pathlib import Path

from serep.benchmark.figures import sample_of
from serep.benchmark.report import write_report
from serep.benchmark.report_content import Finding, ReportContent
from serep.benchmark.report_experiments import experiments_section
from serep.benchmark.report_findings import mirrored_findings
from serep.benchmark.report_sections import (
    KIND_NAMES,
    benchmark_section,
    capture_section,
    data_section,
    semantic_section,
    training_section,
)
from serep.data.heads import read_heads, read_quarantine
from serep.data.shards import open_part
from serep.models.semantic import SemanticModel
from serep.stages._report_inputs import arrays, curve, hashes, heads_in_motion, units_in_renders
from serep.stages._stage import SCORING_STAGES, scoring_code_hash, stage, write_folder

# What decides the bytes of this run's artifacts: the sections that dvc.yaml lists for this stage. Not those of a release or of places.
SHOWN = {"heads", "preprocess", "semantic", "render", "simulated", "intake", "capture", "benchmark"}
CONTACT_IMAGES = 64
LIBRARIES = ("torch", "numpy", "scipy", "zarr", "pyarrow", "pyrender", "numba", "opencv-python-headless", "dvc", "mlflow", "prefect")


def main() -> None:
    with stage("report") as run:
        params, paths = run.params, run.params.paths
        for path in (paths.surfaces, paths.semantic_model(params.semantic.kind), paths.semantic_scores, paths.renders, paths.capture_scores,
                     paths.benchmark, paths.metrics, paths.plots):
            run.input(path)
        metrics = {file.stem: json.loads(file.read_text()) for file in sorted(paths.metrics.glob("*.json"))}
        heads = read_heads(paths.surfaces)
        train = heads.select("train")
        parts = {name: open_part(paths.part(name)) for name in (*params.render.parts, *params.simulated.parts)}
        used = sorted({parts[name].description["renderer"]["renderer"] for name in params.render.parts})
        released, trained = params.semantic.kind, metrics["train_capture"]
        is_real = trained["target_domain"] == "real"
        stands_in = Finding("note", f"No face was found in {paths.real_images}/: a simulated target domain stands in for real faces", "capture")
        kinds = [kind for kind in dict.fromkeys((released, "displacement_pca")) if kind in params.semantic.kinds]
        models = {KIND_NAMES[kind].partition(" (")[0]: SemanticModel.load(paths.semantic_model(kind)) for kind in kinds}
        content = ReportContent(
            title="serep: from meshes to capture",
            introduction=f"Heads from {heads.provenance['source']}: {len(train.neutrals)} people trained on, {len(heads.select('test').neutrals)} tested.",
            key_numbers=(
                ("retargeting, unseen people and expressions", f"{metrics['score_semantic'][released]['retargeting_mm']:.3f} mm"),
                ("capture on test renders", "{:.2f} mm of {:.2f} mm motion".format(*(metrics["score_capture"][row]["vertex_mm"] for row in ("ours", "neutral")))),
                ("five-view benchmark", "{:.2f} mm, the neutral {:.2f} mm".format(
                    *(metrics["benchmark"]["methods"][row]["macro_mean_mm"] for row in ("capture", "neutral"))))),
            data=data_section(sample_of(parts[params.render.parts_of("train")[0]], CONTACT_IMAGES), [], train.weights, heads.expression_names,
                              {name: metrics[f"render_{name}"] for name in parts},
                              **units_in_renders([parts[name] for name in params.render.parts_of("train")], heads)),
            semantic=semantic_section(metrics["score_semantic"], arrays(paths.semantic_scores / "examples.npz"), metrics["score_topology"], heads.topology,
                                      released=released),
            capture=capture_section(metrics["score_capture"], arrays(paths.capture_scores / "examples.npz"),
                                    text=f"Target domain of the training: {trained['target_faces']} {trained['target_domain']} faces, "
                                         f"{trained['target_faces_with_landmarks']} of them with landmarks."),
            benchmark=benchmark_section(metrics["benchmark"], arrays(paths.benchmark / "examples.npz"), arrays(paths.benchmark / "vertex_errors.npz"),
                                        heads.topology),
            experiments=experiments_section({file.stem: json.loads(file.read_text()) for file in sorted((paths.metrics / "experiments").glob("*.json"))},
                                            codes={scored: scoring_code_hash(run.root, scored) for scored in SCORING_STAGES}),
            training=training_section({file.stem: curve(file) for file in sorted(paths.plots.glob("*.csv"))}),
            viewer=heads_in_motion(models, heads.select("test"), paths.benchmark, seed=params.semantic.scoring.seed,
                                   frames_per_expression=params.benchmark.frames_per_expression, fps=params.benchmark.fps),
            renderer_requested=params.render.backend, renderer_used=", ".join(used),
            adversarial_off="" if params.capture.training.loss_weights.domain else "its loss weight is 0",
            findings=(*mirrored_findings(metrics["benchmark"]), *(() if is_real else (stands_in,))), quarantined=tuple(read_quarantine(paths.surfaces)),
            provenance=(*heads.provenance.items(), ("renderer", metrics[f"render_{next(iter(parts))}"]["renderer"])),
            versions=tuple((name, version(name)) for name in LIBRARIES),
            licences=(("heads", heads.provenance["licence"]), ("serep", "Apache-2.0")), data_hashes=hashes(run.root, paths.report),
            params=params.model_dump(mode="json", include=SHOWN))

        def write(folder: Path) -> None:
            folder.mkdir(parents=True)
            write_report(folder / "index.html", content)

        write_folder(paths.report, write)
        run.tracker.log_file(paths.report / "index.html")


if __name__ == "__main__":
    main()
