"""What a model loses on meshes of another topology than the one it was trained on: the same people, other triangles."""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float, Int

from serep.benchmark.metrics import moving_vertices, relative_difference, vertex_distances
from serep.data.heads import HeadSet
from serep.faces.topology import FaceTopology
from serep.geometry.mesh import Mesh
from serep.geometry.remesh import Remesh, cropped, permuted, remeshed, subdivided
from serep.models.registration import bind_any, encode_any, register
from serep.models.rig import Rig
from serep.models.semantic import SemanticModel

LOGGER = logging.getLogger(__name__)
OWN = "own"  # the topology of training
Score = dict[str, float | int | str | None]


def _remeshed(head: Mesh, topology: FaceTopology, rng: np.random.Generator) -> Remesh:
    return remeshed(head, len(head.vertices), rng=rng)


def _face(head: Mesh, topology: FaceTopology) -> Remesh:
    return cropped(head, np.asarray(topology.regions["face"] > 0) if "face" in topology.regions else topology.parts == 0)


def _face_only(head: Mesh, topology: FaceTopology, rng: np.random.Generator) -> Remesh:
    face, crop = _face(head, topology)
    mesh, order = permuted(face, rng=rng)
    return mesh, (order @ crop).tocsr()


def _dense_face(head: Mesh, topology: FaceTopology, rng: np.random.Generator) -> Remesh:
    face, crop = _face(head, topology)
    fine, cut = subdivided(face)
    mesh, order = permuted(fine, rng=rng)
    return mesh, (order @ cut @ crop).tocsr()


TOPOLOGIES: dict[str, Callable[[Mesh, FaceTopology, np.random.Generator], Remesh]] = {
    "remeshed": _remeshed,  # the whole head, as many vertices at other places
    "face only": _face_only,  # the face cut out, its vertices in another order: no inner mouth, no eyes, no skull
    "dense face": _dense_face,  # the same with four times the triangles
}


@dataclass(frozen=True, eq=False)
class _Person:
    """One person in one topology. codes: of the shared expressions, by this topology's meshes."""

    neutral: Float[np.ndarray, "N 3"]
    expressive: Float[np.ndarray, "E N 3"]
    moving: Bool[np.ndarray, " N"]
    codes: Float[np.ndarray, "E Z"]
    rig: Rig
    registration_mm: float

    def error(self, codes: Float[np.ndarray, "E Z"]) -> float:
        return float(vertex_distances(self.rig.pose(codes), self.expressive)[:, self.moving].mean())


def score_topologies(model: SemanticModel, heads: HeadSet, *, people: int, seed: int) -> dict[str, Score]:
    """For the topology of training ("own") and each of TOPOLOGIES, on the first `people` test people (all of `heads`). Lengths in mm.

    reconstruction_mm  encoded from and posed on the person's mesh of this topology, against her true mesh carried to it
    from_it_mm         encoded from it, posed on the next person in the topology of training
    onto_it_mm         the next person's code, encoded in the topology of training, posed on it
    code_difference    of its codes from those of the topology of training, relative
    registration_mm    mean distance of the model's face from the surface
    refused            people whose mesh the model refused; they are left out, and named in the log

    Errors are means over the vertices that move by more than 0.3 mm on average. Empty where fewer than two people share expressions.
    """
    people = min(people, len(heads.neutrals))
    performed, shared = [heads.rows_by_expression(person) for person in range(people)], heads.shared_expressions(range(people))
    if not shared:
        LOGGER.warning("the %d test people share %d expressions: other topologies have no truth and stay unscored", people, len(shared))
        return {}
    rows = [np.array([rows[name] for name in shared]) for rows in performed]
    moving = moving_vertices(np.concatenate([heads.expressive[rows[person]] - heads.neutrals[person] for person in range(people)]))
    identity = scipy.sparse.eye_array(len(moving)).tocsr()
    own = [_person(model, heads, person, rows[person], heads.topology.mesh(heads.neutrals[person]), identity, moving) for person in range(people)]
    scores = {OWN: _score(own, own, range(people))}
    for number, (name, make) in enumerate(TOPOLOGIES.items()):
        others: dict[int, _Person] = {}
        for person in range(people):
            mesh, carry = make(heads.topology.mesh(heads.neutrals[person]), heads.topology, np.random.default_rng([seed, number, person]))
            try:
                others[person] = _person(model, heads, person, rows[person], mesh, carry, moving)
            except ValueError as error:  # of register, which judges the mesh; anything else would have failed on the own topology
                LOGGER.warning("%s, topology '%s': refused: %s", heads.subject_ids[person], name, error)
        scores[name] = _score(list(others.values()), own, others)
    return scores


def _person(
    model: SemanticModel, heads: HeadSet, person: int, rows: Int[np.ndarray, " E"], neutral: Mesh, carry: scipy.sparse.csr_array, moving: Bool[np.ndarray, " V"]
) -> _Person:
    registration = register(model, neutral)
    expressive = np.stack([carry @ mesh.astype(np.float64) for mesh in heads.expressive[rows]])
    return _Person(
        neutral.vertices, expressive, carry @ moving.astype(np.float64) > 0.5,
        encode_any(model, registration, expressive).astype(np.float32), bind_any(model, registration), registration.error.get("mean_mm", 0.0),
    )  # fmt: skip


def _score(people: list[_Person], own: list[_Person], numbers: Iterable[int]) -> Score:
    """Of `people`, who are the `numbers` of `own`."""
    numbers = list(numbers)
    if not people:
        return dict.fromkeys(("reconstruction_mm", "from_it_mm", "onto_it_mm", "code_difference", "registration_mm")) | {"people": 0, "refused": len(own)}
    following = [own[(number + 1) % len(own)] for number in numbers]
    return {
        "reconstruction_mm": float(np.mean([one.error(one.codes) for one in people])),
        "from_it_mm": float(np.mean([other.error(one.codes) for one, other in zip(people, following, strict=True)])),
        "onto_it_mm": float(np.mean([one.error(other.codes) for one, other in zip(people, following, strict=True)])),
        "code_difference": relative_difference(np.concatenate([one.codes for one in people]), np.concatenate([own[number].codes for number in numbers])),
        "registration_mm": float(np.mean([one.registration_mm for one in people])),
        "vertices": int(np.mean([len(one.neutral) for one in people])),
        "people": len(people),
        "refused": len(own) - len(people),
    }
