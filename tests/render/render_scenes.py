"""Small scenes for the tests of rendering."""
import numpy as np

from serep.geometry import Camera
from serep.render import Appearance, Light, Scene

SIZE = 64


def camera(*, size: int = SIZE, distance: float = 500.0, rotation: np.ndarray | None = None, focal: float = 200.0, centre=(30.0, 35.0)) -> Camera:
    """Looks at the origin from the front (turned by `rotation`), with the principal point off the middle."""
    motion = np.eye(4)
    motion[:3, :3] = np.diag([1.0, -1.0, -1.0]) @ (np.eye(3) if rotation is None else rotation)
    motion[2, 3] = distance
    return Camera(np.array([[focal, 0, centre[0]], [0, focal * 1.1, centre[1]], [0, 0, 1]]), motion, size, size)


def even_light(level: float = 1.0) -> Light:
    """The same light from everywhere, no lamp: at level 1 a surface shows its albedo."""
    sh = np.zeros((9, 3))
    sh[0] = level / 0.282095
    return Light(sh, np.array([0.0, 0.0, 1.0]), np.zeros(3))


def scene(vertices: np.ndarray, faces: np.ndarray, *, albedo=(0.5, 0.5, 0.5), light: Light | None = None, camera_used: Camera | None = None) -> Scene:
    """Without gloss and occlusion; `albedo` is one colour or one per vertex."""
    vertices = np.asarray(vertices, float)
    count = len(vertices)
    look = Appearance(np.broadcast_to(np.asarray(albedo, float), (count, 3)).copy(), np.zeros(count), np.full(count, 10.0))
    return Scene(vertices, np.asarray(faces, np.int32).reshape(-1, 3), look, np.ones(count), light or even_light(), camera_used or camera())


def square(side: float, centre=(0.0, 0.0, 0.0)) -> tuple[np.ndarray, np.ndarray]:
    """Faces the camera in front."""
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * side / 2 + centre
    return corners, np.array([[0, 1, 2], [0, 2, 3]])


def sphere(radius: float, centre=(0.0, 0.0, 0.0), rings: int = 24, sectors: int = 36) -> tuple[np.ndarray, np.ndarray]:
    """Closed, with outward faces."""
    polar, turn = np.meshgrid(np.linspace(0, np.pi, rings), 2 * np.pi * np.arange(sectors) / sectors, indexing="ij")
    vertices = radius * np.stack([np.sin(polar) * np.sin(turn), np.cos(polar), np.sin(polar) * np.cos(turn)], axis=-1).reshape(-1, 3) + centre
    here, there = np.arange(sectors), np.roll(np.arange(sectors), -1)
    faces = [
        np.concatenate([np.stack([r + here, r + sectors + here, r + there], 1), np.stack([r + there, r + sectors + here, r + sectors + there], 1)])
        for r in range(0, (rings - 1) * sectors, sectors)
    ]
    return vertices, np.concatenate(faces)


def stacked(*pieces: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Several meshes in one."""
    starts = np.cumsum([0, *[len(vertices) for vertices, _ in pieces[:-1]]])
    faces = np.concatenate([faces + start for (_, faces), start in zip(pieces, starts, strict=True)])
    return np.concatenate([vertices for vertices, _ in pieces]), faces
