"""DVC stage `benchmark`: held-out people play held-out expressions before five cameras; errors by region, beside trivial answers."""
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from serep.benchmark.multirex import VideoScore, protocol_from_topology, region_errors, summarise
from serep.benchmark.sequences import VIEW_GROUPS, range_of_motion, view_cameras
from serep.config import build
from serep.data.heads import read_heads
from serep.data.video import VideoWriter
from serep.geometry.camera import project
from serep.models.capture import CaptureModel, CaptureStream
from serep.models.device import best_device
from serep.models.store import npz_bytes
from serep.render.renderer import open_renderer
from serep.render.sampling import SceneRanges
from serep.stages._stage import stage, wanted_device, write_folder
from serep.synthesis.performances import film

OURS, NEUTRAL, FLOOR = "capture", "neutral", "true codes"


def main() -> None:
    with stage("benchmark") as run:
        params, paths = run.params.benchmark, run.params.paths
        heads = read_heads(run.input(paths.surfaces)).select("test")
        model = CaptureModel.load(run.input(paths.capture), device=best_device(wanted_device()))
        renderer = open_renderer(run.params.render.backend, size_px=params.size_px, fallback=run.params.render.fallback)
        topology, protocol = heads.topology, protocol_from_topology(heads.topology)
        scores: dict[str, list[VideoScore]] = {OURS: [], NEUTRAL: [], FLOOR: []}
        found, rows, vertex_errors = [], [], {OURS: [], NEUTRAL: []}
        examples: dict[str, list[np.ndarray]] = {"images": [], "predicted": [], "reference": [], "view": []}
        example_film, example_capture = np.zeros((0, 0, 0, 3), np.uint8), np.zeros((0, 0, 3), np.float32)
        for person in range(min(params.people, len(heads.neutrals))):
            own = np.flatnonzero(heads.expression_subject == person)[: params.expressions]
            neutral = heads.neutrals[person].astype(np.float64)
            truth = range_of_motion(neutral, heads.expressive[own], frames_per_expression=params.frames_per_expression)
            cameras = view_cameras(neutral[topology.regions["face"] > 0.5], size_px=params.size_px, field_of_view_deg=params.field_of_view_deg,
                                   fill=params.fill)
            filmed = film(neutral, truth, topology, cameras, renderer=renderer, ranges=build(SceneRanges, run.params.render.ranges),
                          rng=np.random.default_rng([params.seed, person]))
            target = topology.mesh(neutral)
            exact = model.semantic.bind(target).pose(model.semantic.encode(target, truth)).astype(np.float64)
            for view, frames in filmed.items():
                captured = CaptureStream(model, target=target, fps=params.fps).push(frames)
                found.append(captured.found)
                example_capture = captured.vertices if person == 0 and view == "front" else example_capture
                still = np.broadcast_to(neutral, truth.shape)
                for method, predicted in ((OURS, captured.vertices.astype(np.float64)), (NEUTRAL, still), (FLOOR, exact)):
                    errors = region_errors(predicted, truth, protocol, mode="fixed")
                    scores[method].append(VideoScore(heads.subject_ids[person], view, errors))
                    rows += [{"method": method, "identity": heads.subject_ids[person], "camera": view, "frame": frame, "region": region, "error_mm": value}
                             for frame, line in enumerate(errors) for region, value in zip(protocol.regions, line.tolist(), strict=True)]
                    if method in vertex_errors:
                        vertex_errors[method].append(np.linalg.norm(predicted - truth, axis=-1).mean(axis=0))
                apex = params.frames_per_expression // 2 + params.frames_per_expression * (person % len(own))
                for key, value in (("images", frames[apex]), ("predicted", captured.landmarks[apex]), ("view", view),
                                   ("reference", project(topology.landmarks(truth[apex]), cameras[view]))):
                    examples[key].append(value)
            example_film = filmed["front"] if person == 0 else example_film
        summaries = {method: summarise(videos, protocol.regions, views=VIEW_GROUPS, resamples=params.resamples, rng=np.random.default_rng(params.seed))
                     for method, videos in scores.items()}

        def write(folder: Path) -> None:
            folder.mkdir(parents=True)
            pq.write_table(pa.Table.from_pylist(rows), folder / "per_frame.parquet")
            (folder / "examples.npz").write_bytes(npz_bytes({key: np.array(value) for key, value in examples.items()}))
            (folder / "capture.npz").write_bytes(npz_bytes({"vertices": example_capture}))
            (folder / "vertex_errors.npz").write_bytes(npz_bytes({method: np.mean(value, axis=0) for method, value in vertex_errors.items()}))
            with VideoWriter(folder / "sequence.mp4", fps=params.fps, size=(params.size_px, params.size_px)) as video:
                for frame in example_film:
                    video.write(frame)

        write_folder(paths.benchmark, write)
        run.write_metrics(paths.metric("benchmark"), {
            "found_share": float(np.concatenate(found).mean()), "people": summaries[OURS].people, "frames": summaries[OURS].frames,
            "methods": {method: {"mean_mm": one.headline, "macro_mean_mm": one.macro_mean, "interval_mm": [one.macro_low, one.macro_high],
                                 "regions_mm": dict(one.region_means), "views_mm": dict(one.view_means)} for method, one in summaries.items()}})


if __name__ == "__main__":
    main()
