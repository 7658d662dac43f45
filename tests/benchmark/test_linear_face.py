"""A linear 3DMM fitted to landmarks: what it can know exactly, and what noise does to it."""
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from serep.benchmark.linear_face import LinearFace
from serep.geometry.camera import Camera, project

INTRINSICS = np.array([[480.0, 0, 128], [0, 480.0, 128], [0, 0, 1]])


@pytest.fixture(scope="module")
def face(topology):
    """Two motions that landmarks can tell apart, of unequal size, and samples of them."""
    down, wide = np.zeros_like(topology.template), np.zeros_like(topology.template)
    down[:, 1] = -topology.regions["mouth"]
    wide[:, 0] = topology.regions["mouth_cheek"] * np.sign(topology.template[:, 0])
    weights = np.random.default_rng(0).standard_normal((40, 2)) * [6.0, 3.0] + [1.0, 0.0]
    displacements = np.tensordot(weights, np.stack([down, wide]), axes=1).astype(np.float32)
    return LinearFace.of(displacements, 8), displacements


def seen_from(topology, meshes, turn_deg, rng, noise_px=0.0):
    """Landmarks of the meshes before a camera half a metre away, the head turned."""
    pose = np.eye(4)
    pose[:3, :3] = np.diag([1.0, -1.0, -1.0]) @ Rotation.from_euler("yx", turn_deg, degrees=True).as_matrix()
    pose[:3, 3] = [10.0, -5.0, 600.0]
    places = project(topology.landmarks(meshes), Camera(INTRINSICS, pose, 256, 256))
    return places + noise_px * rng.standard_normal(places.shape)


def test_modes_are_those_of_the_displacements(face, topology):
    linear, displacements = face
    assert linear.modes.shape == (2, *topology.template.shape)  # eight were asked for, the samples span two
    np.testing.assert_allclose(linear.mean, displacements.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(linear.nearest(topology.template, topology.template + displacements), topology.template + displacements, atol=1e-3)
    weights = np.linalg.lstsq(linear.modes.reshape(2, -1).T, displacements.reshape(40, -1).T, rcond=None)[0]
    np.testing.assert_allclose((weights**2).mean(axis=1), 1, atol=1e-4)  # of unit variance about the neutral
    assert linear.nearest(topology.template, topology.template[None] + [0, 0, 5])[0] == pytest.approx(topology.template, abs=1.0)  # no mode moves the head


@pytest.mark.parametrize("turn_deg", [(0, 0), (35, 10), (-60, 0)])
def test_exact_landmarks_give_the_expression(face, topology, rng, turn_deg):
    linear, displacements = face
    truth = topology.template + displacements[:4]
    fitted = linear.fit(topology.template, seen_from(topology, truth, turn_deg, rng), np.ones(4, bool), topology, INTRINSICS)
    moved = displacements[:4].any(axis=2)
    error, motion = np.linalg.norm(fitted - truth, axis=-1)[moved].mean(), np.linalg.norm(displacements[:4], axis=-1)[moved].mean()
    assert error < 0.05 * motion


def test_noise_shrinks_the_answer_and_lost_frames_are_neutral(face, topology, rng):
    """The noisier the landmarks, the less the fit believes them: it errs less than it would by taking them as exact."""
    linear, displacements = face
    truth, found = topology.template + displacements[:12], np.arange(12) != 5
    sizes = []
    for noise_px in (0.5, 30.0):
        landmarks = seen_from(topology, truth, (10, 0), rng, noise_px)
        landmarks[5] = np.nan
        fitted = linear.fit(topology.template, landmarks, found, topology, INTRINSICS)
        np.testing.assert_array_equal(fitted[5], topology.template)
        sizes.append(np.abs(fitted - topology.template).mean())
    assert sizes[1] < 0.7 * sizes[0]


def test_errors_that_go_together_want_caution(face, topology, rng):
    """Landmarks all moved by a wrong jaw pass for an expression, in every frame; a cautious fit is taken in less, down to the neutral."""
    linear, displacements = face
    wrong = seen_from(topology, topology.template + displacements[:2], (0, 0), rng)
    sizes = [np.abs(linear.fit(topology.template, wrong, np.ones(2, bool), topology, INTRINSICS, caution=caution) - topology.template).mean()
             for caution in (1.0, 1e5, 1e9)]  # fmt: skip
    assert sizes[0] > sizes[1] > sizes[2] and sizes[2] < 0.02 * sizes[0]
