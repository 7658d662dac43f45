"""Bringing a model's mean face onto the surface of any other face: placed, then in the shape of people, then freely.

Closest points pull, as in Besl and McKay's ICP (1992) and, with a stiffness that gives way, in Amberg, Romdhani and Vetter, "Optimal step
nonrigid ICP algorithms for surface registration" (CVPR 2007). Two of ours: until the last rounds a place is near when position and normal are
(lips and lids then find each other long before they touch), and the stiffness is that of a thin plate, so one small matrix serves all axes.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from serep.geometry.connectivity import part_labels
from serep.geometry.mesh import Mesh, face_normals, vertex_normals
from serep.geometry.operators import surface_operators
from serep.geometry.rigid import apply_rigid, rigid_align
from serep.geometry.surface_map import Surface

START_STEP = 25.0  # mm between the heights at which a start is tried
START_ROUNDS, REFINE_ROUNDS, SHAPE_ROUNDS = 12, 30, 25
START_TURNS = Rotation.from_euler("xy", [[20, 0], [-20, 0], [0, 25], [0, -25]], degrees=True).as_matrix()  # at the best two heights
REFINED = 3  # of all starts, the best
SCALE_RANGE = (0.5, 2.0)  # of a face beside the mean face
LOST = 20.0  # mm at which a point without a partner counts
NORMAL_REACH = 60.0  # mm that a turn of the normal by one radian is worth
SPREADS = (8.0, 1.5)  # mm at which a partner loses most of its pull, in the first and the last round of the shape
SLIDE = 0.02  # pull along the surface beside the pull towards it
SHAPE_PRIOR = 0.002  # mm² a point: what one standard deviation of shape costs
PLATE_LENGTHS = (20.0, 10.0, 5.0)  # mm: what is smaller than this the plate does not follow
LAST_LENGTHS = (5.0, 2.5)
FREE_ROUNDS, LAST_ROUNDS = 3, 2
FREE_SPREAD, LAST_REACH = 5.0, 6.0  # mm
MIN_COSINE = 0.5
SURROUNDINGS = 150  # vertices that a separate part follows
PIN_WEIGHT = 10.0  # of a landmark, in vertices


@dataclass(frozen=True, eq=False)
class Pins:
    """Points of the model (rows of `matrix`, over its vertices) whose places are known."""

    matrix: scipy.sparse.csr_array
    places: Float[np.ndarray, "L 3"]


@dataclass(frozen=True, eq=False)
class ShapePose:
    """A mean and its modes in one shape and place: `scale · (mean + coefficients · modes) @ rotation.T + translation`."""

    mean: Float[np.ndarray, "N 3"]
    modes: Float[np.ndarray, "S N 3"]
    coefficients: Float[np.ndarray, " S"]
    rotation: Float[np.ndarray, "3 3"] = field(default_factory=lambda: np.eye(3))
    translation: Float[np.ndarray, " 3"] = field(default_factory=lambda: np.zeros(3))
    scale: float = 1.0

    def points(self) -> Float[np.ndarray, "N 3"]:
        shaped = self.mean + np.tensordot(self.coefficients, self.modes, 1)
        return self.scale * shaped @ self.rotation.T + self.translation

    def of(self, mean: Float[np.ndarray, "M 3"], modes: Float[np.ndarray, "S M 3"]) -> ShapePose:
        """The same shape and place of other points."""
        coefficients = self.coefficients if len(self.coefficients) == len(modes) else np.zeros(len(modes))
        return replace(self, mean=mean, modes=modes, coefficients=coefficients)

    def stepped(
        self, targets: Float[np.ndarray, "N 3"], normals: Float[np.ndarray, "N 3"], weights: Float[np.ndarray, " N"], *, slide: float, prior: float,
        free_scale: bool,
    ) -> ShapePose:
        """One Gauss-Newton step of place and shape towards the targets' tangent planes and, by `slide`, the targets themselves."""
        points = self.points()
        centre = points.mean(axis=0)
        arms = (points - centre) / 100  # turns and growth in units that move a face by about a millimetre, like the modes
        axes = np.eye(3)
        placing = [np.cross(axis, arms) for axis in axes] + [np.broadcast_to(axis, arms.shape) for axis in axes] + [arms]
        moves = np.concatenate([np.stack(placing), self.scale * self.modes @ self.rotation.T])
        offsets = targets - points
        towards, flat, pull = np.einsum("kna,na->kn", moves, normals), moves.reshape(len(moves), -1), np.repeat(weights * slide, 3)
        matrix = (towards * weights) @ towards.T + (flat * pull) @ flat.T
        right = towards @ (weights * np.einsum("na,na->n", offsets, normals)) + flat @ (pull * offsets.ravel())
        penalty = np.full(len(moves), prior) * weights.sum()
        penalty[:7] = 1e-9 * weights.sum() if free_scale else [*([1e-9 * weights.sum()] * 6), 1e9 * weights.sum()]
        right[7:] -= penalty[7:] * self.coefficients
        step = np.linalg.solve(matrix + np.diag(penalty), right)
        turn, growth = Rotation.from_rotvec(step[:3] / 100).as_matrix(), 1 + float(np.clip(step[6] / 100, -0.2, 0.2))
        return replace(
            self, coefficients=self.coefficients + step[7:], rotation=turn @ self.rotation, scale=self.scale * growth,
            translation=growth * turn @ (self.translation - centre) + centre + step[3:6],
        )  # fmt: skip


def place(face: Float[np.ndarray, "N 3"], normals: Float[np.ndarray, "N 3"], surface: Surface) -> tuple[ShapePose, float]:
    """(pose, mean distance in mm of the model's size) of points of a face on a surface that may hold much else, tried at every height of it.

    The surface stands upright and looks forward, give or take some 30 degrees. Which side of it is outside does not matter.
    """
    spots = surface.middles
    low, high = spots.min(axis=0), spots.max(axis=0)
    middle, centre, half = (low + high) / 2, face.mean(axis=0), np.ptp(face[:, 1]) / 2
    upright = ShapePose(face, np.zeros((0, *face.shape)), np.zeros(0))

    def started(level: float, turn: np.ndarray) -> tuple[ShapePose, float]:
        near = (np.abs(spots[:, 1] - level) < START_STEP) & (np.abs(spots[:, 0] - middle[0]) < 2 * START_STEP)
        depth = (spots[near] if near.any() else spots)[:, 2].max() - face[:, 2].max() + centre[2]
        pose = replace(upright, rotation=turn, translation=np.array([middle[0], level, depth]) - turn @ centre)
        return _settled(pose, normals, surface, START_ROUNDS, free_scale=False)

    levels = [middle[1], *np.arange(low[1] + half / 2, high[1] - half / 2, START_STEP)]
    tried = sorted([(*started(level, np.eye(3)), level) for level in levels], key=lambda one: one[1])
    tried += [(*started(level, turn), level) for _, _, level in tried[:2] for turn in START_TURNS]
    tried.sort(key=lambda one: one[1])
    sized = [_settled(pose, normals, surface, REFINE_ROUNDS, free_scale=True) for pose, *_ in tried[:REFINED]]
    # A face that shrinks to a spot lies well on anything.
    sound = [(pose, distance / pose.scale) for pose, distance in sized if SCALE_RANGE[0] <= pose.scale <= SCALE_RANGE[1]]
    return min([*sound, tried[0][:2]], key=lambda one: one[1])


def place_on_pins(mean: Float[np.ndarray, "V 3"], pins: Pins) -> ShapePose:
    """The mean turned, scaled and moved onto the known places of its points."""
    points = pins.matrix @ mean
    spread = [np.sqrt(((one - one.mean(axis=0)) ** 2).sum()) for one in (points, pins.places)]
    scale = float(spread[1] / spread[0])
    rotation, translation = rigid_align(scale * points, pins.places)
    return ShapePose(mean, np.zeros((0, *mean.shape)), np.zeros(0), rotation, translation, scale)


def _settled(pose: ShapePose, normals: np.ndarray, surface: Surface, rounds: int, *, free_scale: bool) -> tuple[ShapePose, float]:
    for last in range(rounds, -1, -1):
        points = pose.points()
        targets, target_normals = surface.near(points)
        cosine = np.abs(np.einsum("na,na->n", normals @ pose.rotation.T, target_normals))
        distance = np.linalg.norm(targets - points, axis=1)
        if not last:
            break
        weights = _trust(distance, max(3.0, 1.5 * float(np.median(distance)))) * cosine
        pose = pose.stepped(targets, target_normals, weights, slide=0.1, prior=0.0, free_scale=free_scale)
    return pose, float(np.where(cosine > MIN_COSINE, np.minimum(distance, LOST), LOST).mean())


def fit_shape(pose: ShapePose, mesh: Mesh, weights: Float[np.ndarray, " V"], surface: Surface, pins: Pins | None) -> ShapePose:
    """The pose of all vertices of a mesh, in the shape that brings those with a weight nearest to the surface."""
    for spread in np.linspace(*SPREADS, SHAPE_ROUNDS):
        points = pose.points()
        normals = vertex_normals(points, mesh.faces)
        used = np.flatnonzero(weights > 0)
        targets, target_normals, open_border = surface.alike(points[used], normals[used], normal_reach=NORMAL_REACH)
        trust = _trust(np.linalg.norm(targets - points[used], axis=1), spread)
        agree = np.einsum("na,na->n", target_normals, normals[used]) > MIN_COSINE
        seen = pose.of(pose.mean[used], pose.modes[:, used])
        pulls = weights[used] * trust * agree * ~open_border
        if pins is not None:  # a pinned point has no plane to slide in
            seen = pose.of(np.concatenate([seen.mean, pins.matrix @ pose.mean]), np.concatenate([seen.modes, _at(pins, pose.modes)], axis=1))
            targets, target_normals = np.concatenate([targets, pins.places]), np.concatenate([target_normals, np.zeros_like(pins.places)])
            pulls = np.concatenate([pulls, np.full(len(pins.places), PIN_WEIGHT / SLIDE)])
        if not pulls.sum() > 0:
            break
        pose = seen.stepped(targets, target_normals, pulls, slide=SLIDE, prior=SHAPE_PRIOR, free_scale=True).of(pose.mean, pose.modes)
    return pose


def fit_freely(mesh: Mesh, weights: Float[np.ndarray, " V"], surface: Surface, pins: Pins | None) -> Float[np.ndarray, "V 3"]:
    """Vertices of the mesh bent onto the surface, a plate that softens round by round; those without a weight or a partner follow.

    Separate parts without a weight (eyeballs, teeth) follow what surrounds them, turned and scaled but not bent.
    """
    operators = surface_operators(mesh)
    areas = operators.vertex_areas
    plate = (operators.laplacian @ scipy.sparse.diags_array(1 / np.maximum(areas, 1e-9)) @ operators.laplacian).tocsc()
    points, before = mesh.vertices, face_normals(mesh.vertices, mesh.faces)
    for length in np.repeat(PLATE_LENGTHS, FREE_ROUNDS):
        normals = vertex_normals(points, mesh.faces)
        targets, target_normals, open_border = surface.alike(points, normals, normal_reach=NORMAL_REACH)
        trust = _trust(np.linalg.norm(targets - points, axis=1), FREE_SPREAD)
        trust *= (np.einsum("na,na->n", target_normals, normals) > MIN_COSINE) & ~open_border & ~_folded(points, mesh.faces, before)
        # Only towards the tangent plane: the plate decides where along it.
        targets = points + np.einsum("na,na->n", targets - points, target_normals)[:, None] * target_normals
        points = _bent(mesh.vertices, targets, areas * weights * trust, areas, length**4 * plate, pins)
    used = np.flatnonzero(weights > 0)
    for length in np.repeat(LAST_LENGTHS, LAST_ROUNDS):
        normals = vertex_normals(points, mesh.faces)
        found = surface.nearest(points[used], normals[used], min_cosine=MIN_COSINE, max_distance=LAST_REACH)
        good = found.found & ~found.on_border & ~_folded(points, mesh.faces, before)[used]
        pulls, targets = np.zeros(len(points)), points.copy()
        pulls[used[good]] = (areas * weights)[used[good]] * _trust(found.distance[good], FREE_SPREAD)
        targets[used[good]] = found.places(surface.mesh.vertices)[good]
        points = _bent(mesh.vertices, targets, pulls, areas, length**4 * plate, pins)
    return _with_loose_parts(mesh, points, weights)


def _folded(points: np.ndarray, faces: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Vertices of faces that have turned over."""
    turned = np.einsum("fa,fa->f", face_normals(points, faces), before) < 0
    return np.bincount(faces[turned].ravel(), minlength=len(points)) > 0


def _with_loose_parts(mesh: Mesh, points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    points, labels = points.copy(), part_labels(mesh)
    held = np.flatnonzero(np.isin(labels, np.unique(labels[weights > 0])))
    for label in np.setdiff1d(labels, labels[held]):
        part = np.flatnonzero(labels == label)
        centre = mesh.vertices[part].mean(axis=0)
        near = held[np.argsort(np.linalg.norm(mesh.vertices[held] - centre, axis=1))[:SURROUNDINGS]]
        first, second = mesh.vertices[near], points[near]
        scale = np.sqrt(((second - second.mean(axis=0)) ** 2).sum() / ((first - first.mean(axis=0)) ** 2).sum())
        points[part] = apply_rigid(scale * mesh.vertices[part], *rigid_align(scale * first, second))
    return points


def _bent(base: np.ndarray, targets: np.ndarray, weights: np.ndarray, areas: np.ndarray, plate: scipy.sparse.csc_array, pins: Pins | None) -> np.ndarray:
    # A part that nothing pulls would be free: a pull of next to nothing holds it.
    system, right = scipy.sparse.diags_array(weights + 1e-6 * areas) + plate, weights[:, None] * (targets - base)
    if pins is not None:
        pull = PIN_WEIGHT * areas.mean() * pins.matrix.T
        system, right = system + pull @ pins.matrix, right + pull @ (pins.places - pins.matrix @ base)
    solver = scipy.sparse.linalg.splu(system.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return base + solver.solve(right)


def _trust(distance: np.ndarray, spread: float) -> np.ndarray:
    """Pull of a partner by its distance (Geman and McClure's)."""
    return 1 / (1 + (distance / spread) ** 2) ** 2


def _at(pins: Pins, modes: np.ndarray) -> np.ndarray:
    return np.stack([pins.matrix @ mode for mode in modes]) if len(modes) else np.zeros((0, len(pins.places), 3))


__all__: Sequence[str] = ("Pins", "ShapePose", "fit_freely", "fit_shape", "place", "place_on_pins")
