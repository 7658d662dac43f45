"""DVC stage `benchmark`: the synthetic MultiREX. Held-out people play held-out expressions before five cameras; scored by region as MultiREX does."""
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from serep.benchmark.five_views import method_scores, per_frame_table
from serep.benchmark.linear_face import LinearFace
from serep.benchmark.multirex import protocol_from_topology
from serep.config import build
from serep.data.heads import read_heads
from serep.data.video import VideoWriter
from serep.models.capture import CaptureModel
from serep.models.device import best_device
from serep.models.store import npz_bytes
from serep.render.renderer import open_renderer
from serep.render.sampling import SceneRanges
from serep.stages._five_views import OURS, Collected, perform
from serep.stages._stage import stage, wanted_device, write_folder


def main() -> None:
    with stage("benchmark") as run:
        params, paths = run.params.benchmark, run.params.paths
        everybody = read_heads(run.input(paths.surfaces))
        heads, train = everybody.select("test"), everybody.select("train")
        model = CaptureModel.load(run.input(paths.capture), device=best_device(wanted_device()))
        linear = LinearFace.of(train.expressive - train.neutrals[train.expression_subject], model.semantic.code_size)
        renderer = open_renderer(run.params.render.backend, size_px=params.size_px, fallback=run.params.render.fallback)
        collected = Collected(model, linear, protocol_from_topology(everybody.topology), params)
        for person in range(min(params.people, len(heads.neutrals))):
            collected.add(perform(heads, person, params, renderer, build(SceneRanges, run.params.render.ranges)))
        scores, regions = collected.scores, collected.protocol.regions

        def write(folder: Path) -> None:
            folder.mkdir(parents=True)
            pq.write_table(per_frame_table(scores, regions), folder / "per_frame.parquet")
            (folder / "examples.npz").write_bytes(npz_bytes({key: np.array(value) for key, value in collected.examples.items()}))
            (folder / "capture.npz").write_bytes(npz_bytes({"vertices": collected.example_capture}))
            (folder / "vertex_errors.npz").write_bytes(npz_bytes(collected.vertex_errors))
            with VideoWriter(folder / "sequence.mp4", fps=params.fps, size=(params.size_px, params.size_px)) as video:
                for frame in collected.example_film:
                    video.write(frame)

        write_folder(paths.benchmark, write)
        run.write_metrics(paths.metric("benchmark"), {
            "found_share": float(np.concatenate(collected.found).mean()), "people": len({one.identity for one in scores[OURS]}),
            "frames": sum(len(one.fixed) for one in scores[OURS]), "linear_caution": collected.linear_caution,
            "methods": method_scores(scores, regions, own=OURS, resamples=params.resamples, seed=params.seed)})


if __name__ == "__main__":
    main()
