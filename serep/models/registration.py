"""A model and a face of any topology: how the one lies on the other, so that the model encodes its meshes and drives it."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float

from serep.faces.frame import to_face_frame
from serep.geometry.connectivity import part_labels
from serep.geometry.extension import Extension
from serep.geometry.mesh import Mesh, vertex_normals
from serep.geometry.rigid import apply_rigid, rotation_angle_deg
from serep.geometry.surface_map import Surface, SurfaceMap
from serep.models.carried_rig import carried_basis
from serep.models.gradient_basis import fit_matrix
from serep.models.rig import Rig
from serep.models.semantic import GradientFit, SemanticModel
from serep.models.surface_checks import REMEDY, refuse_unmeasurable, refuse_unsound_face, standing_otherwise
from serep.models.surface_fit import SCALE_RANGE, Pins, ShapePose, fit_freely, fit_shape, place, place_on_pins

FRAME_SLACK_DEG = 0.5  # beyond the training neutrals' own: a neutral turned no further is left as it is
REST_WEIGHT = 0.2  # of skin outside the face
ENCLOSED_PROBE, ENCLOSED_ROOM = 6.0, 3.0  # mm: skin that has less room than this so far before it is a socket, not outside
START_POINTS = 400
SKIN_REACH, SKIN_SHARE = 15.0, 0.1  # mm from the placed face, and share of it, that make a part of the mesh skin
SAMPLE_REACH, ON_BORDER_REACH = 3.0, 0.3  # mm from the fitted model to its place on the surface; where the surface ends
FACE_REACH = 5.0
DOUBTFUL_START, LARGEST_START = 5.0, 8.0  # mm: mean distance of the placed mean face
LARGEST_ERROR, LARGEST_PINNED_ERROR = 1.4, 3.0  # mm of the model's size: mean distance in the shape of people; with landmarks
LEAST_COVERED = 0.9
NOISE_SHARE, START_TOLERANCE = 0.15, 0.03  # of what a fit leaves over, that may be an error along any one mode; mm
FADE = 50.0
TOLERANCE_ROUNDS = 3


@dataclass(frozen=True, eq=False)
class Registration:
    """A model's topology on one person's neutral.

    given          the neutral as it came
    neutral        the same, moved rigidly into the model's frame
    model_neutral  the model's topology in the shape of the neutral, in the same frame
    to_frame       (rotation, translation) from the given neutral's frame to the model's
    error          of another topology: mean_mm and p95_mm from the model's face to the surface, `covered` share of the face, `shape_mm` that
                   the shapes of the training people leave, `scale` of the model
    samples        where on `neutral` the vertices of `model_neutral` lie; None when both have one topology
    """

    given: Mesh
    neutral: Mesh
    model_neutral: Mesh
    to_frame: tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, " 3"]]
    error: dict[str, float] = field(default_factory=dict)
    samples: SurfaceMap | None = None

    @cached_property
    def seen(self) -> Bool[np.ndarray, " V"]:
        """The model's vertices that have a place on the surface."""
        return np.ones(len(self.model_neutral.vertices), bool) if self.samples is None else self.samples.found

    @cached_property
    def skin(self) -> Bool[np.ndarray, " N"]:
        """The person's vertices that belong to the parts on which the model lies."""
        if self.samples is None:
            return np.ones(len(self.neutral.vertices), bool)
        labels = part_labels(self.neutral)
        return np.isin(labels, labels[self.samples.corners[self.samples.found, 0]])

    @cached_property
    def _extension(self) -> Extension:
        return Extension(self.model_neutral, self.seen, fade=FADE)

    def to_model(self, vertices: Float[np.ndarray, "B N 3"]) -> Float[np.ndarray, "B V 3"]:
        """The person's meshes, in their own frame, as meshes of the model in its frame; the neutral gives exactly `model_neutral`.

        What the surface does not show (a mouth's inside, the back of a mask) follows what it shows.
        """
        if vertices.shape[1:] != self.given.vertices.shape:
            raise ValueError(f"the registered neutral has {len(self.given.vertices):,} vertices, the expressive meshes {vertices.shape[1]:,}")
        if self.samples is None:
            return apply_rigid(np.asarray(vertices, np.float64), *self.to_frame)
        displacements = (np.asarray(vertices, np.float64) - self.given.vertices) @ self.to_frame[0].T
        at_model = self.samples.matrix @ displacements.transpose(1, 0, 2).reshape(displacements.shape[1], -1)
        return self.model_neutral.vertices + self._extension(at_model).reshape(-1, len(vertices), 3).transpose(1, 0, 2)


def register(
    model: SemanticModel, neutral: Mesh, *, landmarks: Mapping[int, Sequence[float]] | None = None, largest_shape_error: float | None = None
) -> Registration:
    """How a model lies on a neutral of any topology, in mm, y up, z out of the face.

    A neutral of the model's own topology is taken as it is, moved rigidly if it is turned further than the training neutrals were. On any
    other mesh the model's mean face is placed, shaped and bent; the mesh may hold a whole body or little more than a face, and eyes, teeth
    and hair as separate parts. `landmarks` are places on the neutral by MediaPipe's ids, at least three: they place the face and hold it.
    `largest_shape_error` (mm of the model's size) is for a caller who knows that the mesh is a face, and looks at what comes out.
    ValueError, saying what was found and what to do, when the mesh does not look like such a face.
    """
    refuse_unmeasurable(neutral)
    topology = model.topology
    if len(neutral.vertices) == len(topology.template) and np.array_equal(neutral.faces, topology.faces):
        to_frame = to_face_frame(neutral.vertices, topology)
        if rotation_angle_deg(to_frame[0]) <= float(model.frame_reach_deg) + FRAME_SLACK_DEG:
            to_frame = np.eye(3), np.zeros(3)
        moved = neutral.with_vertices(apply_rigid(neutral.vertices, *to_frame))
        return Registration(neutral, moved, moved, to_frame)
    mean = model.mean_neutral
    weights, face = _fitted_vertices(model, mean)
    pins = None if landmarks is None else _pins(model, landmarks)
    pose = _placed(neutral, mean, face, pins)
    points = pose.points()
    refuse_unsound_face(neutral, points[face], vertex_normals(points, mean.faces)[face])
    surface = _skin(neutral, points[face], vertex_normals(points, mean.faces)[face])
    modes = model.shape_modes.cpu().double().numpy().reshape(-1, *mean.vertices.shape)
    pose = fit_shape(pose.of(mean.vertices, modes), mean, weights, surface, pins)
    shaped = mean.with_vertices(pose.points())
    error = {"scale": pose.scale, "shape_mm": _distance(surface, shaped, face)[0]}
    _refuse_unlike(error, largest_shape_error or (LARGEST_ERROR if pins is None else LARGEST_PINNED_ERROR))
    fitted = mean.with_vertices(fit_freely(shaped, weights, surface, pins))
    samples = surface.nearest(fitted.vertices, vertex_normals(fitted.vertices, mean.faces), max_distance=SAMPLE_REACH)
    samples = samples.where((weights > 0) & (~samples.on_border | (samples.distance < ON_BORDER_REACH)))
    error |= dict(zip(("mean_mm", "p95_mm"), _distance(surface, fitted, face), strict=True)) | {"covered": float(samples.found[face].mean())}
    if error["covered"] < LEAST_COVERED:
        raise ValueError(
            f"the neutral covers only {error['covered']:.0%} of the face (at least {LEAST_COVERED:.0%} are needed): it has holes, is cut too closely, "
            f"or something lies over it. {REMEDY}"
        )
    to_frame = to_face_frame(fitted.vertices, topology)
    moved, fitted = (mesh.with_vertices(apply_rigid(mesh.vertices, *to_frame)) for mesh in (neutral, fitted))
    return Registration(neutral, moved, fitted, to_frame, error, samples)


def encode_any(model: SemanticModel, registration: Registration, expressive: Float[np.ndarray, "B N 3"]) -> Float[np.ndarray, "B Z"]:
    """Expression codes of a registered person's meshes, in the frame of the neutral as it was given.

    Of another topology, what is encoded is the model's own most probable mesh behind what the surface shows: places are a little off and
    parts are missing, and a code must not explain that.
    """
    vertices = registration.to_model(expressive)
    if registration.samples is None:
        return model.encode(registration.model_neutral, vertices)
    neutral, seen = registration.model_neutral.vertices, registration.seen
    basis = model.bind(registration.model_neutral).basis
    flat = basis[:, seen].reshape(len(basis), -1).astype(np.float64)
    shown = (vertices - neutral)[:, seen].reshape(len(vertices), -1)
    products, measured, covariance = flat @ flat.T / seen.sum(), shown @ flat.T / seen.sum(), np.diag(_deviations(model) ** 2)
    tolerance = START_TOLERANCE
    for _ in range(TOLERANCE_ROUNDS):
        coefficients = measured @ fit_matrix(products, covariance, tolerance).T
        left_over = np.sqrt(np.square(shown - coefficients @ flat).sum() / (len(shown) * seen.sum()))
        tolerance = max(NOISE_SHARE * left_over, 1e-6)
    return model.encode(registration.model_neutral, neutral + np.tensordot(coefficients, basis, 1))


def bind_any(model: SemanticModel, registration: Registration) -> Rig:
    """The rig of a registered person, in the topology and frame in which the neutral was given."""
    rig = model.bind(registration.model_neutral)
    basis = rig.basis
    if registration.samples is not None:
        basis = carried_basis(model.topology, registration.model_neutral, basis, _deviations(model), registration.neutral, registration.skin)
    rotation = registration.to_frame[0]
    if not np.array_equal(rotation, np.eye(3)):
        basis = basis @ rotation.astype(np.float32)
    return Rig(registration.given, basis, rig.decoder, model.code_size)


def _deviations(model: SemanticModel) -> Float[np.ndarray, " K"]:
    """How strongly the training set uses each mode of the basis."""
    deviations = model.mode_deviation if isinstance(model, GradientFit) else model.decoder.matrix.diagonal()
    return deviations.detach().cpu().double().numpy()


def _fitted_vertices(model: SemanticModel, mean: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """(weight of each vertex in the fit, ids of the face's): outer skin, the face foremost."""
    topology, normals = model.topology, vertex_normals(mean.vertices, mean.faces)
    skin = topology.parts == 0
    region = topology.regions.get("face")
    face = skin if region is None else skin & (region > 0.5)
    room = Surface(mean).nearest(mean.vertices + ENCLOSED_PROBE * normals, max_distance=ENCLOSED_PROBE).distance
    weights = np.where(face, 1.0, REST_WEIGHT) * (skin & (face | (room > ENCLOSED_ROOM)))
    if "nostril" in topology.regions:
        weights[topology.regions["nostril"] > 0.5] = 0
    return weights, np.flatnonzero(face & (weights > 0))


def _pins(model: SemanticModel, landmarks: Mapping[int, Sequence[float]]) -> Pins:
    ids, topology = tuple(sorted(landmarks)), model.topology
    places = np.array([landmarks[one] for one in ids], np.float64)
    if len(ids) < 3 or places.shape != (len(ids), 3) or not np.isfinite(places).all():
        raise ValueError(f"landmarks must be at least 3 finite points (x, y, z) in mm by MediaPipe's ids, got {dict(landmarks)}")
    rows = topology.landmark_rows(ids)
    corners, shares = topology.landmark_triangles[rows], topology.landmark_barycentric[rows]
    entries = shares.ravel(), (np.repeat(np.arange(len(ids)), 3), corners.ravel())
    return Pins(scipy.sparse.csr_array(entries, shape=(len(ids), len(topology.template))), places)


def _placed(neutral: Mesh, mean: Mesh, face: np.ndarray, pins: Pins | None) -> ShapePose:
    if pins is not None:
        return place_on_pins(mean.vertices, pins)
    few = face[np.linspace(0, len(face) - 1, min(START_POINTS, len(face))).astype(int)]
    normals = vertex_normals(mean.vertices, mean.faces)[few]
    pose, distance = place(mean.vertices[few], normals, Surface(neutral))
    otherwise = standing_otherwise(mean.vertices[few], normals, neutral, distance) if distance > DOUBTFUL_START else None
    if otherwise or distance > LARGEST_START:
        raise ValueError(
            f"no upright face that looks forward was found on the neutral: the nearest likeness is {distance:.1f} mm from the model's mean face on "
            f"average (at most {LARGEST_START:.0f} will do). {otherwise or REMEDY}"
        )
    return pose.of(mean.vertices, np.zeros((0, *mean.vertices.shape)))


def _skin(neutral: Mesh, face: np.ndarray, normals: np.ndarray) -> Surface:
    """The surface of the parts that the placed face lies on."""
    near = Surface(neutral).nearest(face, normals, max_distance=SKIN_REACH)
    labels = part_labels(neutral)
    counts = np.bincount(labels[near.corners[near.found, 0]], minlength=labels.max() + 1)
    skin = counts > SKIN_SHARE * counts.sum()
    return Surface(Mesh(neutral.vertices, neutral.faces[skin[labels[neutral.faces[:, 0]]]]))


def _distance(surface: Surface, mesh: Mesh, face: np.ndarray) -> tuple[float, float]:
    """Mean and 95th percentile over the face (mm); what lies further than the reach counts as at the reach."""
    places = surface.nearest(mesh.vertices[face], vertex_normals(mesh.vertices, mesh.faces)[face], max_distance=FACE_REACH)
    distance = np.minimum(places.distance, FACE_REACH)
    return float(distance.mean()), float(np.percentile(distance, 95))


def _refuse_unlike(error: dict[str, float], largest: float) -> None:
    if not SCALE_RANGE[0] <= error["scale"] <= SCALE_RANGE[1]:
        raise ValueError(
            f"the face on the neutral is {error['scale']:.2f} times as large as the model's mean face ({SCALE_RANGE[0]} to {SCALE_RANGE[1]} will do): "
            "check the unit of the file"
        )
    if error["shape_mm"] > largest * error["scale"]:
        raise ValueError(
            f"the neutral does not look like the faces that the model learned from: in the nearest shape of theirs it is still {error['shape_mm']:.1f} mm "
            f"away on average (at most {largest * error['scale']:.1f} will do). {REMEDY}"
        )
