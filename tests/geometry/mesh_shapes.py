"""Small meshes for the tests of geometry."""
import numpy as np

from serep.geometry import Mesh


def sphere(rings: int = 8, sectors: int = 12, radius: float = 50.0, centre=(0.0, 0.0, 0.0)) -> Mesh:
    """A closed sphere with outward faces."""
    polar = np.pi * np.arange(1, rings) / rings
    turn = 2 * np.pi * np.arange(sectors) / sectors
    around = np.stack(
        [np.sin(polar)[:, None] * np.sin(turn), np.cos(polar)[:, None] * np.ones(sectors), np.sin(polar)[:, None] * np.cos(turn)], axis=-1
    ).reshape(-1, 3)
    vertices = radius * np.concatenate([[[0, 1, 0]], around, [[0, -1, 0]]]) + np.asarray(centre)
    ring = 1 + np.arange(sectors)
    following = 1 + (np.arange(sectors) + 1) % sectors
    last = (rings - 2) * sectors
    faces = [(np.zeros_like(ring), ring, following), (np.full_like(ring, len(vertices) - 1), following + last, ring + last)]
    for row in range(rings - 2):
        upper, lower = row * sectors, (row + 1) * sectors
        faces += [(ring + upper, ring + lower, following + upper), (following + upper, ring + lower, following + lower)]
    return Mesh(vertices, np.concatenate([np.stack(corners, axis=1) for corners in faces]))


def joined(*meshes: Mesh) -> Mesh:
    """Several meshes as the separate parts of one."""
    starts = np.cumsum([0, *[len(mesh.vertices) for mesh in meshes[:-1]]])
    faces = np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)])
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]), faces)


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    rotation, triangular = np.linalg.qr(rng.standard_normal((3, 3)))
    rotation = rotation * np.sign(np.diag(triangular))
    return rotation * np.linalg.det(rotation)
