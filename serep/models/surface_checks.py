"""What makes a mesh unfit to be registered, said so that its owner can mend it."""
from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from serep.geometry.connectivity import part_labels, welded_faces
from serep.geometry.mesh import HEIGHT_RANGE, Mesh
from serep.geometry.surface_map import Surface
from serep.models.surface_fit import place

TALLEST = 2500.0  # mm: a whole body, of which only the face counts
UNITS = {"cm": 10.0, "m": 1000.0}
AXIS_NAMES = {(0, 1): "x", (0, -1): "-x", (1, 1): "y", (1, -1): "-y", (2, 1): "z", (2, -1): "-z"}
BEYOND = 10.0  # mm from the face within which the mesh must be sound
SMALL_PART = 0.02  # of the face
CLEARLY = 0.67  # of the distance: how much nearer a face must be in other axes
REMEDY = "Give a head that stands upright and looks forward, with its face bare, or landmarks"


def refuse_unmeasurable(neutral: Mesh) -> None:
    """ValueError for a mesh without a surface, with positions that are not finite, or in another unit than mm."""
    unsound = np.flatnonzero(~np.isfinite(neutral.vertices).all(axis=1))
    if len(unsound):
        raise ValueError(f"the neutral has {len(unsound)} vertices with NaN or infinite positions (first: vertex {unsound[0]}). Repair it or leave it out")
    if not len(neutral.faces):
        raise ValueError(f"the neutral has {len(neutral.vertices):,} vertices but no faces. Give a mesh, not points")
    height = float(np.ptp(neutral.vertices[np.unique(neutral.faces), 1]))
    if not HEIGHT_RANGE[0] <= height <= TALLEST:
        unit = next((name for name, factor in UNITS.items() if HEIGHT_RANGE[0] <= factor * height <= HEIGHT_RANGE[1]), None)
        guess = f"it is probably in {unit}: read it with unit={unit!r}" if unit else "check its unit and its axes"
        raise ValueError(f"the neutral is {height:.3g} mm high, a face {HEIGHT_RANGE[0]:.0f} mm at least and a body {TALLEST:.0f} at most: {guess}")


def refuse_unsound_face(neutral: Mesh, face: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"]) -> None:
    """ValueError where the mesh has faces that look inwards, or badly joined ones, close to the points of a face placed on it."""
    surface = Surface(neutral)
    places = surface.nearest(face, normals, either_side=True, max_distance=BEYOND)
    found = places.found
    inward = np.einsum("na,na->n", normals[found], surface.normals[places.face[found]]) < 0
    labels = part_labels(neutral)[places.corners[found, 0]]
    points, inwards = np.bincount(labels), np.bincount(labels, weights=inward)
    turned = (inwards > 0.5 * points) & (points > SMALL_PART * len(face))  # one wrong point on a lip is none; a part is turned as a whole
    if turned.any():
        share = points[turned].sum() / points.sum()
        which = "faces look" if share > 0.99 else f"face consists of parts, of which {share:.0%} look"
        raise ValueError(f"the neutral's {which} inwards (clockwise seen from outside), or it is a mirror image. Turn them round")
    near = np.zeros(len(neutral.faces), bool)
    near[places.face[found]] = True
    near = _grown(near, neutral)
    faces = welded_faces(neutral)[near]
    arrows = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    arrows = arrows[arrows[:, 0] != arrows[:, 1]]
    edges, uses = np.unique(np.sort(arrows, axis=1), axis=0, return_counts=True)
    if (uses > 2).any():
        first = edges[np.argmax(uses > 2)].tolist()
        raise ValueError(f"{(uses > 2).sum()} edges of the neutral's face belong to more than two faces (first: vertices {first}). Repair the mesh there")
    twice, uses = np.unique(arrows, axis=0, return_counts=True)
    if (uses > 1).any():
        first = twice[np.argmax(uses > 1)].tolist()
        raise ValueError(
            f"the winding of the neutral's face is inconsistent at {(uses > 1).sum()} edges (first: vertices {first}): neighbours look to opposite "
            "sides. Make the winding of its faces consistent"
        )


def _grown(marked: np.ndarray, mesh: Mesh) -> np.ndarray:
    """The marked faces and all that share a vertex with them."""
    touched = np.zeros(len(mesh.vertices), bool)
    touched[mesh.faces[marked]] = True
    return touched[mesh.faces].any(axis=1)


def standing_otherwise(face: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"], neutral: Mesh, distance: float) -> str | None:
    """How to read a mesh so that a face is found much nearer than at this distance (mm); None when no other axes bring that."""
    nearest, turn = CLEARLY * distance, None
    for other in Rotation.create_group("O").as_matrix():
        if np.allclose(other, np.eye(3)):
            continue
        _, found = place(face, normals, Surface(neutral.with_vertices(neutral.vertices @ other.T)))
        if found < nearest:
            nearest, turn = found, other
    if turn is None:
        return None
    up, front = (AXIS_NAMES[int(np.abs(row).argmax()), int(np.sign(row.sum()))] for row in turn[1:])
    return f"Its face lies where up={up!r} and front={front!r} in the axes in which it was read: read it so"
