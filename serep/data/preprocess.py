"""From heads as their source has them to heads that can be learned from: checked, aligned, with areas; what is unfit goes to the quarantine."""
from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from serep.data.heads import HeadSet, QuarantineRow
from serep.faces.frame import align_neutral
from serep.faces.head_model import SPLITS
from serep.faces.topology import FaceTopology
from serep.geometry.mesh import HEIGHT_RANGE, face_areas, mesh_problems, vertex_areas, zero_area_faces
from serep.geometry.rigid import apply_rigid, rigid_align

logger = logging.getLogger(__name__)

UNITS = {"centimetres": 10.0, "metres": 1000.0}  # mm in one
LARGEST_DISPLACEMENT = 80.0  # mm from the neutral; a jaw opened wide moves the chin by about 50
LISTED = 5


def preprocess(head_set: HeadSet, *, max_quarantine_share: float, left_out: Sequence[QuarantineRow]) -> tuple[HeadSet, list[QuarantineRow]]:
    """Sound, aligned heads with areas, and the quarantine: `left_out` (meshes the source's reader refused) and what is refused here.

    Neutrals that share no frame yet are moved rigidly onto the template's face, expressive meshes onto their neutral by the vertices that
    expressions move least.
    A bad expressive is left out alone, a bad neutral with its whole person. ValueError when more than the share of all meshes is left out, or
    nobody of a split remains.
    """
    topology = head_set.topology
    neutrals, expressive = head_set.neutrals.copy(), head_set.expressive.copy()
    quarantine, people, bad_meshes = list(left_out), [], []
    for person, neutral in enumerate(head_set.neutrals):
        own = np.flatnonzero(head_set.expression_subject == person).tolist()
        problems = neutral_problems(neutral, topology)
        if problems:
            reason = "; ".join(problems) + " (neutral: the whole person is left out)"
            quarantine.append((head_set.subject_ids[person], head_set.neutral_files[person], reason))
            bad_meshes.extend(own)
            continue
        people.append(person)
        neutrals[person] = neutral if head_set.shares_frame else align_neutral(neutral, topology)
        for row in own:
            aligned, problems = _check_expressive(head_set.expressive[row], neutrals[person], topology)
            if problems:
                name = head_set.expressive_files[row] or head_set.expression_ids[row]
                quarantine.append((head_set.subject_ids[person], name, "; ".join(problems)))
                bad_meshes.append(row)
            else:
                expressive[row] = aligned
    total = len(neutrals) + len(expressive) + len(left_out)
    count = len(neutrals) - len(people) + len(bad_meshes) + len(left_out)
    _refuse_too_many(count, total, quarantine, max_quarantine_share)
    sound = replace(head_set, neutrals=neutrals, expressive=expressive).take(people, without=bad_meshes)
    for split in SPLITS:
        if split in head_set.subject_splits and split not in sound.subject_splits:
            raise ValueError(f"nobody of the split {split!r} is sound:\n{_listed(quarantine)}")
    logger.info("%d of %d meshes are in quarantine", count, total)
    return with_areas(sound), quarantine


def neutral_problems(vertices: Float[np.ndarray, "V 3"], topology: FaceTopology) -> list[str]:
    """What makes a neutral unfit to learn from, one phrase each."""
    wrong_unit = _wrong_unit(vertices)
    return [wrong_unit] if wrong_unit else mesh_problems(topology.mesh(vertices.astype(np.float64)))


def with_areas(head_set: HeadSet) -> HeadSet:
    """The same heads with the areas (mm²) of every neutral, by vertex and by face."""
    faces, neutrals = head_set.topology.faces, head_set.neutrals.astype(np.float64)
    by_vertex = np.zeros(neutrals.shape[:2], np.float32)
    by_face = np.zeros((len(neutrals), len(faces)), np.float32)
    for person, neutral in enumerate(neutrals):
        by_vertex[person], by_face[person] = vertex_areas(neutral, faces), face_areas(neutral, faces)
    return replace(head_set, vertex_areas=by_vertex, face_areas=by_face)


def _check_expressive(vertices: Float[np.ndarray, "V 3"], neutral: Float[np.ndarray, "V 3"],
                      topology: FaceTopology) -> tuple[Float[np.ndarray, "V 3"], list[str]]:
    """The expressive mesh in its neutral's frame, and what is wrong with it. Faults of the faces themselves were found on the neutral."""
    unsound = np.flatnonzero(~np.isfinite(vertices).all(axis=1))
    if len(unsound):
        return vertices, [f"{len(unsound)} vertices are not finite (first: vertex {unsound[0]})"]
    if wrong_unit := _wrong_unit(vertices):
        return vertices, [wrong_unit]
    fixed = topology.fixed
    aligned = apply_rigid(vertices.astype(np.float64), *rigid_align(vertices[fixed], neutral[fixed]))
    problems = []
    empty = np.flatnonzero(zero_area_faces(aligned, topology.faces))
    if len(empty):
        problems.append(f"{len(empty)} faces have no area (first: face {empty[0]})")
    motion = np.linalg.norm(aligned - neutral, axis=1)
    if motion.max() > LARGEST_DISPLACEMENT:
        problems.append(f"vertex {motion.argmax()} is {motion.max():.0f} mm from the neutral, further than any expression moves: registration failed")
    return aligned, problems


def _wrong_unit(vertices: Float[np.ndarray, "V 3"]) -> str | None:
    height = float(np.ptp(vertices[:, 1])) if np.isfinite(vertices).all() else HEIGHT_RANGE[0]
    for unit, millimetres in UNITS.items():
        if not HEIGHT_RANGE[0] <= height <= HEIGHT_RANGE[1] and HEIGHT_RANGE[0] <= height * millimetres <= HEIGHT_RANGE[1]:
            return f"is {height:.3g} mm high: it is probably in {unit}; give the unit of the files to their reader"
    return None


def _refuse_too_many(count: int, total: int, quarantine: Sequence[QuarantineRow], max_quarantine_share: float) -> None:
    share = count / max(total, 1)
    if share > max_quarantine_share:
        raise ValueError(f"{count} of {total} meshes are unfit ({share:.0%}, at most {max_quarantine_share:.0%} may be); "
                         f"mend the source or raise max_quarantine_share. First:\n{_listed(quarantine)}")


def _listed(quarantine: Sequence[QuarantineRow]) -> str:
    return "\n".join(f"  {subject} {file}: {reason}" for subject, file, reason in quarantine[:LISTED])
