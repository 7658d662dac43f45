"""DVC stage `heads`: people and their own expressions, from the head source named in params."""
from serep.data.heads import gather_heads, write_heads
from serep.faces import open_head_model
from serep.stages._stage import stage


def main() -> None:
    with stage("heads") as run:
        params, paths = run.params.heads, run.params.paths
        model = open_head_model(params.source, run.input(params.path), **params.reader_options())
        heads, problems = gather_heads(
            model.subjects(params.plan(), seed=params.seed),
            topology=model.topology,
            expression_names=tuple(model.expression_names),
            provenance={
                "source": model.name, "origin": model.provenance, "licence": model.licence, "seed": str(params.seed),
                "populations": f"train and val: {params.train_population}, test: {params.test_population}",
                "expression_transfer": params.expression_transfer if model.expression_names else "scanned",
                "held_out_units": ", ".join(params.held_out_units) or "none",
            },
            shares_frame=model.shares_frame,
        )
        write_heads(paths.heads, heads, quarantine=problems)
        people = {split: heads.subject_splits.count(split) for split in ("train", "val", "test")}
        run.write_metrics(paths.metric("heads"), {"people": people, "expressive_meshes": len(heads.expressive), "unreadable_files": len(problems)})


if __name__ == "__main__":
    main()
