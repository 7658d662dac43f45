"""What the stage `benchmark` does with one person, and what it keeps of all of them."""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, UInt8

from serep.benchmark.five_views import MeasuredVideo, best_of, measure
from serep.benchmark.linear_face import LinearFace
from serep.benchmark.multirex import RegionProtocol
from serep.benchmark.sequences import played_rows, range_of_motion, view_cameras
from serep.config import Benchmark
from serep.data.heads import HeadSet
from serep.geometry.camera import Camera, project
from serep.models.capture import CaptureModel, CaptureStream
from serep.render.renderer import Renderer
from serep.render.sampling import SceneRanges
from serep.synthesis.performances import film

OURS, LINEAR, NEUTRAL, MEAN = "capture", "linear 3DMM", "neutral", "mean expression"
CAUTIONS = (1.0, 10.0, 100.0, 1000.0)  # of the linear 3DMM's fit: the one that suits it best on the test itself stands in the table
FLOOR, LINEAR_FLOOR = "true codes", "true meshes, linear 3DMM"
FRONT = "front"


@dataclass(frozen=True, eq=False)
class Performance:
    """One test person's range of motion, and its films."""

    person: int
    identity: str
    neutral: Float[np.ndarray, "V 3"]
    truth: Float[np.ndarray, "T V 3"]
    expressions: int
    cameras: dict[str, Camera]
    films: dict[str, UInt8[np.ndarray, "T S S 3"]]


def perform(heads: HeadSet, person: int, params: Benchmark, renderer: Renderer, ranges: SceneRanges) -> Performance:
    topology, neutral = heads.topology, heads.neutrals[person].astype(np.float64)
    own = played_rows(heads.expression_subject, person, params.expressions)
    truth = range_of_motion(neutral, heads.expressive[own], frames_per_expression=params.frames_per_expression)
    cameras = view_cameras(neutral[topology.regions["face"] > 0.5], size_px=params.size_px, field_of_view_deg=params.field_of_view_deg, fill=params.fill)
    films = film(neutral, truth, topology, cameras, renderer=renderer, ranges=ranges, rng=np.random.default_rng([params.seed, person]))
    return Performance(person, heads.subject_ids[person], neutral, truth, len(own), cameras, films)


@dataclass(eq=False)
class Collected:
    """Scores of all methods, and what the report shows."""

    model: CaptureModel
    linear: LinearFace
    protocol: RegionProtocol
    params: Benchmark
    found: list[Bool[np.ndarray, " T"]] = field(default_factory=list)
    example_film: UInt8[np.ndarray, "T S S 3"] | None = None
    example_capture: Float[np.ndarray, "T V 3"] | None = None
    examples: dict[str, list] = field(default_factory=lambda: {"images": [], "predicted": [], "reference": [], "view": []})
    _scores: dict[str, list[MeasuredVideo]] = field(default_factory=lambda: {name: [] for name in (OURS, NEUTRAL, MEAN, FLOOR, LINEAR_FLOOR)})
    _fits: dict[float, list[MeasuredVideo]] = field(default_factory=lambda: {caution: [] for caution in CAUTIONS})
    _vertex_errors: dict[str, list[np.ndarray]] = field(default_factory=lambda: {OURS: [], NEUTRAL: []})

    def add(self, shown: Performance) -> None:
        """Every method on every film of one person."""
        model, topology, neutral, truth = self.model, self.model.semantic.topology, shown.neutral, shown.truth
        target, still = topology.mesh(neutral), np.broadcast_to(neutral, truth.shape)
        blind = {NEUTRAL: still, MEAN: still + self.linear.mean, LINEAR_FLOOR: self.linear.nearest(neutral, truth),
                 FLOOR: model.semantic.bind(target).pose(model.semantic.encode(target, truth)).astype(np.float64)}
        for view, frames in shown.films.items():
            captured = CaptureStream(model, target=target, fps=self.params.fps).push(frames)
            self.found.append(captured.found)
            if shown.person == 0 and view == FRONT:
                self.example_film, self.example_capture = frames, captured.vertices
            for caution, measured in self._fits.items():
                fitted = self.linear.fit(neutral, captured.landmarks, captured.found, topology, shown.cameras[view].intrinsics, caution=caution)
                measured.append(measure(fitted, truth, neutral, self.protocol, identity=shown.identity, view=view))
            for method, predicted in (blind | {OURS: captured.vertices.astype(np.float64)}).items():
                self._scores[method].append(measure(predicted, truth, neutral, self.protocol, identity=shown.identity, view=view))
                if method in self._vertex_errors:
                    self._vertex_errors[method].append(np.linalg.norm(predicted - truth, axis=-1).mean(axis=0))
            apex = self.params.frames_per_expression // 2 + self.params.frames_per_expression * (shown.person % shown.expressions)
            for key, value in (("images", frames[apex]), ("predicted", captured.landmarks[apex]), ("view", view),
                               ("reference", project(topology.landmarks(truth[apex]), shown.cameras[view]))):
                self.examples[key].append(value)

    @property
    def linear_caution(self) -> float:
        return best_of(self._fits)

    @property
    def scores(self) -> dict[str, list[MeasuredVideo]]:
        return {OURS: self._scores[OURS], LINEAR: self._fits[self.linear_caution], **{name: self._scores[name] for name in (NEUTRAL, MEAN, FLOOR, LINEAR_FLOOR)}}

    @property
    def vertex_errors(self) -> dict[str, Float[np.ndarray, " V"]]:
        return {method: np.mean(value, axis=0) for method, value in self._vertex_errors.items()}
