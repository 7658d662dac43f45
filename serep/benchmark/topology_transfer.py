"""What it costs a semantic model that a face comes in another topology than its own, on test people whose truth is known."""
from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse
from jaxtyping import Float
from scipy.spatial import cKDTree

from serep.benchmark.metrics import moving_vertices, relative_difference, vertex_distances
from serep.data.heads import HeadSet
from serep.faces.topology import FaceTopology
from serep.geometry.mesh import Mesh
from serep.geometry.remesh import Remesh, cropped, remeshed, subdivided
from serep.geometry.rigid import apply_rigid
from serep.models.registration import Registration, bind_any, encode_any, register
from serep.models.rig import Rig
from serep.models.semantic import SemanticModel

MASK_MARGIN = 15.0  # mm of skin around the face that a face mask keeps
NATIVE = "native"


@dataclass(frozen=True, eq=False)
class _Guest:
    """A person in a topology of their own."""

    matrix: scipy.sparse.csr_array
    registration: Registration
    rig: Rig
    codes: Float[np.ndarray, "n Z"]
    expressive: Float[np.ndarray, "n N 3"]
    expression_ids: tuple[str, ...]
    seconds: dict[str, float]


def score_topologies(model: SemanticModel, heads: HeadSet, *, people: int, seed: int) -> dict[str, dict[str, float | int | None]]:
    """Figures for `native` meshes and for each way of making other ones (`subdivided`, `remeshed`, `mask`), of people drawn from `heads`.

    registration_mm     mean distance over the face from the model's vertices, as registered from the neutral alone, to where they truly are
    code_difference     of the codes, beside those of the native meshes (root mean square, relative)
    reconstruction_mm   mean vertex distance of a person's own codes, posed on the person, to the truth carried to the same points
    retargeting_mm      the same with another person's codes, both people in the topology; None where they share no expression
    register_s, encode_s, bind_s   mean processor time a person, of `vertices` on average

    Errors are over the skin that moves (mean true motion over 0.3 mm).
    """
    rng = np.random.default_rng(seed)
    chosen = heads.take(np.sort(rng.permutation(len(heads.neutrals))[:people]).tolist())
    skin_moves = _moving_skin(chosen)
    ways: dict[str, Callable[[Mesh], Remesh]] = {
        NATIVE: lambda mesh: (mesh, scipy.sparse.eye_array(len(mesh.vertices)).tocsr()),
        "subdivided": subdivided,
        "remeshed": lambda mesh: remeshed(mesh, len(mesh.vertices), rng=rng),
        "mask": lambda mesh: cropped(mesh, _mask(mesh, chosen.topology)),
    }
    native = [_guest(model, chosen, person, ways[NATIVE]) for person in range(len(chosen.neutrals))]
    scores = {}
    for name, way in ways.items():
        guests = native if name == NATIVE else [_guest(model, chosen, person, way) for person in range(len(chosen.neutrals))]
        scores[name] = _scores(guests, native, skin_moves, chosen)
    return scores


def _guest(model: SemanticModel, heads: HeadSet, person: int, way: Callable[[Mesh], Remesh]) -> _Guest:
    rows = np.flatnonzero(heads.expression_subject == person)
    neutral, matrix = way(heads.topology.mesh(heads.neutrals[person]))
    expressive = np.stack([matrix @ heads.expressive[row].astype(np.float64) for row in rows])
    marks = [time.process_time()]
    registration = register(model, neutral)
    marks.append(time.process_time())
    codes = encode_any(model, registration, expressive)
    marks.append(time.process_time())
    rig = bind_any(model, registration)
    marks.append(time.process_time())
    seconds = dict(zip(("register_s", "encode_s", "bind_s"), np.diff(marks).tolist(), strict=True))
    return _Guest(matrix, registration, rig, codes, expressive, tuple(heads.expression_ids[row] for row in rows), seconds)


def _scores(guests: list[_Guest], native: list[_Guest], skin_moves: np.ndarray, heads: HeadSet) -> dict[str, float | int | None]:
    face = heads.topology.regions.get("face", np.ones(len(skin_moves))) > 0.5
    registered, same, other = [], [], []
    for person, guest in enumerate(guests):
        rotation, translation = guest.registration.to_frame
        fitted = apply_rigid(guest.registration.model_neutral.vertices - translation, rotation.T, np.zeros(3))
        registered.append(vertex_distances(fitted, heads.neutrals[person])[face].mean())
        moving = guest.matrix @ skin_moves.astype(np.float64) > 0.5
        same.append(vertex_distances(guest.rig.pose(guest.codes), guest.expressive)[:, moving].mean())
        sender = guests[(person + 1) % len(guests)]
        shared = [name for name in guest.expression_ids if name in sender.expression_ids]
        if shared and sender is not guest:
            sent, true = ([one.expression_ids.index(name) for name in shared] for one in (sender, guest))
            other.append(vertex_distances(guest.rig.pose(sender.codes[sent]), guest.expressive[true])[:, moving].mean())
    codes, own = (np.concatenate([one.codes for one in group]) for group in (guests, native))
    return {
        "registration_mm": float(np.mean(registered)), "code_difference": relative_difference(codes, own), "reconstruction_mm": float(np.mean(same)),
        "retargeting_mm": float(np.mean(other)) if other else None,
        **{name: float(np.mean([guest.seconds[name] for guest in guests])) for name in guests[0].seconds},
        "vertices": int(np.mean([len(guest.registration.given.vertices) for guest in guests])), "people": len(guests),
    }  # fmt: skip


def _moving_skin(heads: HeadSet) -> np.ndarray:
    return moving_vertices(heads.expressive - heads.neutrals[heads.expression_subject]) & (heads.topology.parts == 0)


def _mask(mesh: Mesh, topology: FaceTopology) -> np.ndarray:
    """Vertices of a face mask: the face and some skin around it."""
    region = topology.regions.get("face")
    face = topology.parts == 0 if region is None else region > 0.5
    return (topology.parts == 0) & (cKDTree(mesh.vertices[face]).query(mesh.vertices)[0] < MASK_MARGIN)
