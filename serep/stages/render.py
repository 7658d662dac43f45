"""DVC stages `render` and `render_simulated`: one part of the labelled images, shard by shard; a killed run goes on where it stopped."""
import os
import sys

from serep.config import build
from serep.render.sampling import SceneRanges
from serep.stages._stage import stage, worker_count
from serep.synthesis.codes import CodeMix
from serep.synthesis.parts import draw_part
from serep.synthesis.plan import PartInputs, PartPlan
from serep.synthesis.workers import Workers


def main(part: str) -> None:
    with stage(f"render@{part}") as run:
        params, paths, heads, simulated = run.params.render, run.params.paths, run.params.heads, run.params.simulated
        is_simulated = part in simulated.parts
        domain = simulated if is_simulated else params  # who draws whom, from which seed
        inputs = PartInputs(
            heads=run.input(paths.surfaces), semantic_model=run.input(paths.semantic_model(run.params.semantic.kind)),
            head_source=heads.source, head_path=run.input(heads.path), head_options=heads.reader_options())
        plan = PartPlan(
            part=part, **domain.parts[part].model_dump(), seed=domain.seed, size_px=params.size_px, images_per_shard=params.images_per_shard,
            people_per_shard=params.people_per_shard, codes=build(CodeMix, params.codes), backend=domain.backend, fallback=domain.fallback,
            ranges=simulated.scene_ranges(params.ranges) if is_simulated else build(SceneRanges, params.ranges), inputs=run.inputs)
        workers = Workers(params.executor, worker_count(), os.environ.get("SEREP_DASK_ADDRESS") or params.dask_address)
        drawn = draw_part(plan, inputs, paths.part(part), workers=workers, store=params.store)
        run.write_metrics(paths.metric(f"render_{part}"), drawn.summary())


if __name__ == "__main__":
    main(sys.argv[1])
