"""DVC stage `score_topology`: what the released kind loses on meshes of other topologies, on unseen people and expressions."""
from serep.benchmark.topologies import score_topologies
from serep.data.heads import read_heads
from serep.models.semantic import SemanticModel
from serep.stages._stage import stage


def main() -> None:
    with stage("score_topology") as run:
        params, paths = run.params.semantic, run.params.paths
        heads = read_heads(run.input(paths.surfaces)).select("test")
        model = SemanticModel.load(run.input(paths.semantic_model(params.kind)))
        metrics = score_topologies(model, heads, people=params.topology_scoring.people, seed=params.topology_scoring.seed)
        run.write_metrics(paths.metric("score_topology"), metrics)


if __name__ == "__main__":
    main()
