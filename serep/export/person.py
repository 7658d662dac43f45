"""One neutral mesh as a semantic model sees it: checked, upright in the model's frame, encoded and driven."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from serep.export.overlay import SKIN, clay_colours
from serep.faces.topology import FIXED_COUNT, FaceTopology
from serep.geometry.mesh import HEIGHT_RANGE, Mesh, mesh_problems, vertex_normals
from serep.geometry.mesh_io import MM_PER_UNIT
from serep.geometry.rigid import apply_rigid, rigid_align, rotation_angle_deg
from serep.geometry.surface_map import map_to_surface
from serep.models.registration import Registration, bind_any, encode_any, register
from serep.models.rig import Rig
from serep.models.semantic import SemanticModel
from serep.models.surface_checks import TALLEST

UPRIGHT_DEG = 60.0  # a neutral that is turned further from the model's heads has other axes
MOVED_NOTE = 2.0  # mm (root mean square) that an expressive mesh must be moved back to be worth a word
STILL_NOTE, STILL_LIMIT = 2.0, 5.0  # mm that what expressions do not move may still differ then; two people's heads differ by 6 to 9
FEWEST_STILL = 50  # still vertices that a head motion is measured by
PAINT_REACH = 6.0  # mm from the model's skin at which a mesh of another topology takes none of its colour
BATCH = 256  # meshes that are held in double precision at once


def check_neutral(mesh: Mesh, file: Path, *, unit: str) -> None:
    """ValueError, naming the file, for a neutral without faces, with positions that are not finite, or of a size that no head has."""
    unsound = ~np.isfinite(mesh.vertices).all(axis=1)
    if unsound.any() or not len(mesh.faces):
        problem = f"{unsound.sum()} vertices are not finite (first: vertex {unsound.argmax()})" if unsound.any() else "it has no faces"
        raise ValueError(f"{file} cannot be used as a neutral: {problem}. Mend it, or give another mesh")
    height = float(np.ptp(mesh.vertices[np.unique(mesh.faces), 1]))
    if not HEIGHT_RANGE[0] <= height <= TALLEST:
        raise ValueError(f"{file} is {height:.3g} mm high when it is read as {unit}: {_unit_remedy(height, unit)}")


def _unit_remedy(height: float, unit: str) -> str:
    heights = {other: height / MM_PER_UNIT[unit] * millimetres for other, millimetres in MM_PER_UNIT.items()}
    fitting = [other for tallest in (HEIGHT_RANGE[1], TALLEST) for other in heights if HEIGHT_RANGE[0] <= heights[other] <= tallest]
    return f"it is probably in {fitting[0]}; give --unit {fitting[0]}" if fitting else "no head is; check --unit and --up"


def _unsound(mesh: Mesh) -> list[str]:
    """Faults of the surface, wherever they are. Holes are none: faces end at the neck, the lids and the lips."""
    used, corners = np.unique(mesh.faces, return_inverse=True)
    vertices, faces = mesh.vertices[used], corners.reshape(-1, 3).astype(np.int32)
    scaled = vertices * (2 * HEIGHT_RANGE[0] / np.ptp(vertices[:, 1]))  # the size was judged before, with the option that mends it
    problems = mesh_problems(Mesh(scaled, faces))
    a, b, c = (scaled[faces[:, corner]] - scaled.mean(axis=0) for corner in range(3))
    # The cones from the middle to the faces have a positive volume when most of the surface looks away from it, holes or not.
    if not problems and np.einsum("fa,fa->", a, np.cross(b, c)) < 0:
        problems.append("faces look inwards, or it is a mirror image: turn its normals round, or export it without mirroring")
    return problems + ([f"{len(mesh.vertices) - len(used)} vertices belong to no face"] if len(used) < len(mesh.vertices) else [])


@dataclass(frozen=True, eq=False)
class Person:
    """A neutral of any topology in its own frame, and how the model's topology lies on it."""

    model: SemanticModel
    neutral: Mesh
    registration: Registration
    notes: tuple[str, ...] = ()

    @staticmethod
    def meet(model: SemanticModel, neutral: Mesh, file: Path) -> Person:
        """The person of a neutral read from `file`; ValueError, naming it, when the model can make nothing of such a mesh.

        A mesh of the model's topology must be sound everywhere. Of another topology the face must be (see `register`); faults elsewhere, in
        hair or clothes, are only noted.
        """
        topology, problems = model.topology, _unsound(neutral)
        shared = len(neutral.vertices) == len(topology.template) and np.array_equal(neutral.faces, topology.faces)
        if shared and problems:
            raise ValueError(f"{file} cannot be used as a neutral: {'; '.join(problems)}. Mend it, or give another mesh")
        try:
            registration = register(model, neutral)
        except ValueError as problem:
            raise ValueError(f"{file}: {problem}") from None
        turned = rotation_angle_deg(registration.to_frame[0])
        if turned > UPRIGHT_DEG:
            raise ValueError(f"{file} is turned by {turned:.0f} degrees against the model's heads: give its axes with --up and --front")
        notes = [f"{file}: {problem}; left as it is" for problem in problems]
        return Person(model, neutral, registration, tuple(notes if shared else [*notes, _fit_remark(registration, topology, file)]))

    @property
    def shares_topology(self) -> bool:
        return self.registration.samples is None

    @property
    def face_points(self) -> Float[np.ndarray, "N 3"]:
        """Vertices of the face, in the model's frame."""
        vertices, region = self.registration.model_neutral.vertices, self.model.topology.regions.get("face")
        return vertices if region is None else vertices[region > 0.5]

    @cached_property
    def colours(self) -> Float[np.ndarray, "V 3"]:
        """Of a plain head with readable eyes and lips, linear RGB; of another topology what lies nearest on the model's."""
        topology, registration = self.model.topology, self.registration
        colours = clay_colours(topology)
        if self.shares_topology:
            return colours
        mesh, model = registration.neutral, registration.model_neutral
        normals = vertex_normals(mesh.vertices, mesh.faces)
        eyes = np.isin(topology.parts, [topology.part_names.index(name) for name in ("eye_left", "eye_right") if name in topology.part_names])
        painted = np.tile(SKIN, (len(mesh.vertices), 1)).astype(np.float64)
        # The rims of the lids lie on the eyeballs, and are skin all the same.
        for own, source in ((registration.skin, ~eyes), (~registration.skin, np.ones_like(eyes))):
            surface = Mesh(model.vertices, model.faces[source[model.faces].all(axis=1)])
            places = map_to_surface(mesh.vertices[own], normals[own], surface, max_distance=PAINT_REACH)
            share = np.clip(2 * (1 - places.distance[places.found] / PAINT_REACH), 0, 1)[:, None]  # none at the reach, all up to half of it
            rows = np.flatnonzero(own)[places.found]
            painted[rows] = share * (places.matrix @ colours)[places.found] + (1 - share) * painted[rows]
        return painted

    def upright(self, vertices: Float[np.ndarray, "*B V 3"]) -> Float[np.ndarray, "*B V 3"]:
        """In the model's frame."""
        rotation, translation = self.registration.to_frame
        return vertices.astype(np.float64) @ rotation.T + translation

    @cached_property
    def rig(self) -> Rig:
        """The neutral with the model's decoder, in its own frame."""
        return bind_any(self.model, self.registration)

    def encode(self, expressive: Float[np.ndarray, "B V 3"]) -> Float[np.ndarray, "B Z"]:
        """Codes of expressive meshes that lie on the neutral (see `on_neutral`)."""
        batches = [encode_any(self.model, self.registration, expressive[start : start + BATCH]) for start in range(0, len(expressive), BATCH)]
        return np.concatenate(batches)

    def landmarks(self, vertices: Float[np.ndarray, "B V 3"]) -> Float[np.ndarray, "B L 3"]:
        """The model's landmarks on posed meshes of this person, in their frame; NaN where the mesh has no such place."""
        if self.shares_topology:
            return self.model.topology.landmarks(vertices)
        points = self.model.topology.landmarks(self.registration.model_neutral.vertices)
        return map_to_surface(points, None, self.registration.neutral).places(vertices)

    def on_neutral(self, expressive: Float[np.ndarray, "B V 3"]) -> tuple[Float[np.ndarray, "B V 3"], Float[np.ndarray, " B"], Float[np.ndarray, " B"]]:
        """(meshes without head motion, how far each was moved, how far it still is from the neutral where expressions move nothing): mm, root mean square.

        The training meshes were laid on their neutrals by the same vertices. Of a mask that lacks them a small motion may be an expression,
        and is left.
        """
        still = self._still
        moved, aligned, rest = expressive.copy(), np.zeros(len(expressive)), np.zeros(len(expressive))
        if still is None:
            return moved, aligned, rest
        neutral = still.places(self.neutral.vertices)
        for start in range(0, len(expressive), BATCH):
            rows = slice(start, start + BATCH)
            batch = expressive[rows].astype(np.float64)
            before = still.places(batch)
            rotation, translation = rigid_align(before, np.broadcast_to(neutral, before.shape))
            after = apply_rigid(before, rotation, translation)
            aligned[rows], rest[rows] = _root_mean_square(after - before), _root_mean_square(after - neutral)
            sure = still.sure | (aligned[rows] > MOVED_NOTE)
            moved[rows] = np.where(sure[:, None, None], apply_rigid(batch, rotation, translation), batch)
        return moved, aligned, rest

    def frame_remarks(self, moved: Float[np.ndarray, " B"], rest: Float[np.ndarray, " B"], places: Sequence[str], file: Path) -> list[str]:
        """What to say of what `on_neutral` found; ValueError for a mesh that cannot be this neutral's (read from `file`)."""
        worst, remarks = int(rest.argmax()), []
        note, limit = (STILL_NOTE, STILL_LIMIT) if self._still is None or self._still.sure else (2 * STILL_NOTE, 2 * STILL_LIMIT)
        if rest[worst] > limit:
            raise ValueError(
                f"{places[worst]} does not fit its neutral {file}: where no expression moves a face they differ by {rest[worst]:.1f} mm "
                "even when laid on each other. Give the same person's neutral, in the same unit and vertex order"
            )
        if moved.max() > MOVED_NOTE:
            what = f"{(moved > MOVED_NOTE).sum()} of {len(moved)} expressive meshes were not in their neutral's frame (by up to {moved.max():.1f} mm)"
            remarks.append(f"{what}: head motion was taken off, by the vertices that expressions move least")
        if rest[worst] > note:
            remarks.append(f"{places[worst]} differs from its neutral by {rest[worst]:.1f} mm where no expression moves a face: is it the same person?")
        return remarks

    @cached_property
    def _still(self) -> _Places | None:
        """Where this mesh shows what expressions do not move; None where the model does not know."""
        fixed, samples = self.model.topology.fixed, self.registration.samples
        if samples is None:
            return _Places(fixed[:, None], np.ones((len(fixed), 1)), sure=True) if len(fixed) >= 3 else None
        rows = fixed[self.registration.seen[fixed]]
        sure = len(rows) >= FEWEST_STILL
        if not sure:  # a mask without the back of the head: what moves least of it
            seen = np.flatnonzero(self.registration.seen)
            rows = seen[np.argsort(self._usual_motion()[seen], kind="stable")[:FIXED_COUNT]]
        return _Places(samples.corners[rows], samples.weights[rows], sure=sure)


    def _usual_motion(self) -> Float[np.ndarray, " V"]:
        """How far the training set's expressions would move each of the model's vertices on this person: root mean square, but for a factor."""
        rig = self.model.bind(self.registration.model_neutral)
        spread = torch.diag(self.model.code_deviation)
        posed = rig.pose(torch.cat([self.model.code_mean + spread, self.model.code_mean - spread]).cpu().numpy())
        return np.sqrt(((posed - rig.neutral.vertices) ** 2).sum(axis=(0, 2)))


@dataclass(frozen=True, eq=False)
class _Places:
    """Points of a mesh, each a mean of a few vertices; `sure` when expressions move them by nothing worth a word."""

    corners: Int[np.ndarray, "n c"]
    weights: Float[np.ndarray, "n c"]
    sure: bool

    def places(self, vertices: Float[np.ndarray, "*B V 3"]) -> Float[np.ndarray, "*B n 3"]:
        return np.einsum("...nca,nc->...na", vertices[..., self.corners, :], self.weights)


def _fit_remark(registration: Registration, topology: FaceTopology, file: Path) -> str:
    error = registration.error
    return (
        f"{file} has a topology of its own; {topology.name} was fitted to it with {error['mean_mm']:.2f} mm mean error "
        f"({error['p95_mm']:.2f} mm for 95 %), {error['covered']:.0%} of the face covered"
    )


def _root_mean_square(difference: Float[np.ndarray, "B N 3"]) -> Float[np.ndarray, " B"]:
    return np.sqrt((difference**2).sum(axis=-1).mean(axis=-1))
