import numpy as np
from small_heads import draw_neutral, small_topology

from serep.faces.frame import align_neutral, to_face_frame
from serep.geometry.rigid import apply_rigid


def rotation(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


def with_face(topology, mask):
    from dataclasses import replace

    return replace(topology, regions=topology.regions | {"face": mask})


def test_the_face_alone_decides_the_frame(rng):
    topology = small_topology()
    face = topology.template[:, 1] > 0
    topology = with_face(topology, face.astype(float))
    grown = topology.template.copy()
    grown[~face] += rng.normal(0, 20, (int((~face).sum()), 3))
    np.testing.assert_allclose(align_neutral(grown, topology)[face], topology.template[face], atol=1e-9)


def test_a_moved_head_comes_back_and_an_aligned_one_stays(rng):
    topology = small_topology()
    topology = with_face(topology, np.ones(len(topology.template)))
    neutral = align_neutral(draw_neutral(rng), topology)
    moved = apply_rigid(neutral, rotation(0.4), np.array([30.0, -12.0, 5.0]))
    np.testing.assert_allclose(align_neutral(moved, topology), neutral, atol=1e-9)
    turn, shift = to_face_frame(neutral, topology)
    np.testing.assert_allclose(turn, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(shift, 0, atol=1e-8)


def test_a_topology_without_a_face_region_uses_all_vertices(rng):
    topology = small_topology()
    moved = apply_rigid(topology.template, rotation(-0.3), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(align_neutral(moved, topology), topology.template, atol=1e-9)
