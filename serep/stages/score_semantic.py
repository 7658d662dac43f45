"""DVC stage `score_semantic`: every kind on unseen people and expressions, and examples for the report."""
from pathlib import Path

from serep.benchmark.consistency import cross_identity_consistency
from serep.benchmark.retargeting import retargeting_examples, score_semantic
from serep.data.heads import read_heads
from serep.models.semantic import SemanticModel
from serep.models.store import npz_bytes
from serep.stages._stage import stage, write_folder


def main() -> None:
    with stage("score_semantic") as run:
        params, paths = run.params.semantic, run.params.paths
        heads = read_heads(run.input(paths.surfaces)).select("test")
        models = {kind: SemanticModel.load(run.input(paths.semantic_model(kind))) for kind in params.kinds}
        settings = params.scoring.model_dump()
        metrics = {kind: score_semantic(model, heads, **settings) | {"consistency": cross_identity_consistency(model, heads)}
                   for kind, model in models.items()}
        examples = retargeting_examples(models, heads, **settings)

        def write(folder: Path) -> None:
            folder.mkdir(parents=True)
            (folder / "examples.npz").write_bytes(npz_bytes(examples))

        write_folder(paths.semantic_scores, write)
        run.write_metrics(paths.metric("score_semantic"), metrics)


if __name__ == "__main__":
    main()
