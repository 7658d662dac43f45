"""A ball-headed population: small, exact and quick."""
import numpy as np
import pytest
import trimesh

from serep.data.heads import HeadSet
from serep.faces.topology import FaceTopology


@pytest.fixture(scope="session")
def ball() -> FaceTopology:
    """162 vertices, 200 mm across; the back is fixed."""
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=100.0)
    vertices = np.asarray(mesh.vertices)
    region = (vertices[:, 2] > 0).astype(np.float32)
    return FaceTopology(name="ball", faces=np.asarray(mesh.faces), template=vertices, landmark_ids=np.array([13, 14]),
                        landmark_triangles=np.asarray(mesh.faces)[:2], landmark_barycentric=np.full((2, 3), 1 / 3),
                        regions={"face": region, "mouth": region}, parts=np.zeros(len(vertices), np.uint8),
                        fixed=np.flatnonzero(vertices[:, 2] < -40))


@pytest.fixture
def tiny_heads(ball) -> HeadSet:
    """Five people (3 train, 1 val, 1 test), 0 to 3 expressions each; expressions only move the front."""
    rng = np.random.default_rng(3)
    neutrals = ball.template * rng.uniform(0.9, 1.1, (5, 1, 3))
    owner = np.array([0, 0, 0, 2, 2, 3, 4], np.int32)
    front = np.maximum(ball.template[:, 2:] - 40, 0)[None] / 60
    expressive = neutrals[owner] + front * rng.normal(0, 8, (7, 1, 3))
    return HeadSet(topology=ball, neutrals=neutrals.astype(np.float32), subject_ids=("ann", "bo", "cy", "di", "ed"),
                   subject_splits=("train", "train", "train", "val", "test"), expressive=expressive.astype(np.float32), expression_subject=owner,
                   expression_ids=("a", "b", "c", "d", "e", "val-0", "test-0"), weights=rng.uniform(0, 1, (7, 2)).astype(np.float32),
                   expression_names=("jawOpen", "mouthSmileLeft"), provenance={"source": "balls"})
