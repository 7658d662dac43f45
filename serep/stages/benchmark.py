"""DVC stage `benchmark`: the synthetic MultiREX. Held-out people play held-out expressions before five cameras; scored by region as MultiREX does."""
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from serep.benchmark.five_views import MeasuredVideo, best_of, measure, method_scores, per_frame_table
from serep.benchmark.linear_face import LinearFace
from serep.benchmark.multirex import protocol_from_topology
from serep.benchmark.sequences import played_rows, range_of_motion, view_cameras
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

OURS, LINEAR, NEUTRAL, MEAN = "capture", "linear 3DMM", "neutral", "mean expression"
CAUTIONS = (1.0, 10.0, 100.0, 1000.0)  # of the linear 3DMM's fit: the one that suits it best on the test itself stands in the table
FLOOR, LINEAR_FLOOR = "true codes", "true meshes, linear 3DMM"


def main() -> None:
    with stage("benchmark") as run:
        params, paths = run.params.benchmark, run.params.paths
        everybody = read_heads(run.input(paths.surfaces))
        heads, train, topology = everybody.select("test"), everybody.select("train"), everybody.topology
        model = CaptureModel.load(run.input(paths.capture), device=best_device(wanted_device()))
        linear = LinearFace.of(train.expressive - train.neutrals[train.expression_subject], model.semantic.code_size)
        renderer = open_renderer(run.params.render.backend, size_px=params.size_px, fallback=run.params.render.fallback)
        protocol = protocol_from_topology(topology)
        scores: dict[str, list[MeasuredVideo]] = {name: [] for name in (OURS, LINEAR, NEUTRAL, MEAN, FLOOR, LINEAR_FLOOR)}
        fits: dict[float, list[MeasuredVideo]] = {caution: [] for caution in CAUTIONS}
        found, vertex_errors = [], {OURS: [], NEUTRAL: []}
        examples: dict[str, list[np.ndarray]] = {"images": [], "predicted": [], "reference": [], "view": []}
        example_film, example_capture = np.zeros((0, 0, 0, 3), np.uint8), np.zeros((0, 0, 3), np.float32)
        for person in range(min(params.people, len(heads.neutrals))):
            identity, own = heads.subject_ids[person], played_rows(heads.expression_subject, person, params.expressions)
            neutral = heads.neutrals[person].astype(np.float64)
            truth = range_of_motion(neutral, heads.expressive[own], frames_per_expression=params.frames_per_expression)
            cameras = view_cameras(neutral[topology.regions["face"] > 0.5], size_px=params.size_px, field_of_view_deg=params.field_of_view_deg,
                                   fill=params.fill)
            filmed = film(neutral, truth, topology, cameras, renderer=renderer, ranges=build(SceneRanges, run.params.render.ranges),
                          rng=np.random.default_rng([params.seed, person]))
            target, still = topology.mesh(neutral), np.broadcast_to(neutral, truth.shape)
            blind = {NEUTRAL: still, MEAN: still + linear.mean, LINEAR_FLOOR: linear.nearest(neutral, truth),
                     FLOOR: model.semantic.bind(target).pose(model.semantic.encode(target, truth)).astype(np.float64)}
            for view, frames in filmed.items():
                captured = CaptureStream(model, target=target, fps=params.fps).push(frames)
                found.append(captured.found)
                example_capture = captured.vertices if person == 0 and view == "front" else example_capture
                for caution, measured in fits.items():
                    fitted = linear.fit(neutral, captured.landmarks, captured.found, topology, cameras[view].intrinsics, caution=caution)
                    measured.append(measure(fitted, truth, neutral, protocol, identity=identity, view=view))
                for method, predicted in (blind | {OURS: captured.vertices.astype(np.float64)}).items():
                    scores[method].append(measure(predicted, truth, neutral, protocol, identity=identity, view=view))
                    if method in vertex_errors:
                        vertex_errors[method].append(np.linalg.norm(predicted - truth, axis=-1).mean(axis=0))
                apex = params.frames_per_expression // 2 + params.frames_per_expression * (person % len(own))
                for key, value in (("images", frames[apex]), ("predicted", captured.landmarks[apex]), ("view", view),
                                   ("reference", project(topology.landmarks(truth[apex]), cameras[view]))):
                    examples[key].append(value)
            example_film = filmed["front"] if person == 0 else example_film
        scores[LINEAR] = fits[best_of(fits)]

        def write(folder: Path) -> None:
            folder.mkdir(parents=True)
            pq.write_table(per_frame_table(scores, protocol.regions), folder / "per_frame.parquet")
            (folder / "examples.npz").write_bytes(npz_bytes({key: np.array(value) for key, value in examples.items()}))
            (folder / "capture.npz").write_bytes(npz_bytes({"vertices": example_capture}))
            (folder / "vertex_errors.npz").write_bytes(npz_bytes({method: np.mean(value, axis=0) for method, value in vertex_errors.items()}))
            with VideoWriter(folder / "sequence.mp4", fps=params.fps, size=(params.size_px, params.size_px)) as video:
                for frame in example_film:
                    video.write(frame)

        write_folder(paths.benchmark, write)
        run.write_metrics(paths.metric("benchmark"), {
            "found_share": float(np.concatenate(found).mean()), "people": len({one.identity for one in scores[OURS]}),
            "frames": sum(len(one.fixed) for one in scores[OURS]), "linear_caution": best_of(fits),
            "methods": method_scores(scores, protocol.regions, own=OURS, resamples=params.resamples, seed=params.seed)})


if __name__ == "__main__":
    main()
