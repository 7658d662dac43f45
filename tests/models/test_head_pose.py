import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from serep.geometry.camera import Camera, project
from serep.models.head_pose import FACING_CAMERA, assumed_intrinsics, pose_from_numbers, pose_to_numbers, solve_head_pose


def pose_of(yaw, pitch, roll, translation):
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("zxy", [roll, pitch, yaw], degrees=True).as_matrix() @ FACING_CAMERA
    pose[:3, 3] = translation
    return pose


def test_intrinsics_span_the_field_of_view_along_the_longer_side():
    intrinsics = assumed_intrinsics(640, 360, 60.0)
    assert intrinsics[0, 2] == 320 and intrinsics[1, 2] == 180
    assert np.degrees(2 * np.arctan(320 / intrinsics[0, 0])) == pytest.approx(60.0)


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0, 0, 0), (35, -10, 15), (-60, 20, -25)])
def test_a_known_pose_comes_back(topology, yaw, pitch, roll):
    points = topology.landmarks(topology.template)
    truth = pose_of(yaw, pitch, roll, [40.0, -25.0, 700.0])
    intrinsics = assumed_intrinsics(640, 480, 50.0)
    seen = project(points, Camera(intrinsics, truth, 640, 480))
    pose = solve_head_pose(points, seen, intrinsics, None)
    np.testing.assert_allclose(pose, truth, atol=1e-3)


def test_pose_follows_from_frame_to_frame_under_noise(topology, rng):
    points, intrinsics, pose = topology.landmarks(topology.template), assumed_intrinsics(640, 480, 50.0), None
    for yaw in np.linspace(-40, 40, 15):
        truth = pose_of(yaw, 5, 0, [0.0, 0.0, 600.0])
        seen = project(points, Camera(intrinsics, truth, 640, 480)) + rng.normal(0, 0.5, (len(points), 2))
        pose = solve_head_pose(points, seen, intrinsics, pose)
        turn = Rotation.from_matrix(pose[:3, :3] @ truth[:3, :3].T).magnitude()
        assert np.degrees(turn) < 4


def test_senseless_landmarks_keep_the_last_pose(topology):
    points, intrinsics = topology.landmarks(topology.template), assumed_intrinsics(640, 480, 50.0)
    last = pose_of(10, 0, 0, [0.0, 0.0, 600.0])
    same = solve_head_pose(points, np.full((len(points), 2), 100.0), intrinsics, last)
    assert np.isfinite(same).all()
    np.testing.assert_allclose(same[:3, :3] @ same[:3, :3].T, np.eye(3), atol=1e-9)


def test_numbers_of_a_pose_lead_back_to_it():
    pose = pose_of(25, -12, 30, [40.0, -60.0, 700.0])
    np.testing.assert_allclose(pose_from_numbers(pose_to_numbers(pose)), pose, atol=1e-9)
    assert np.abs(pose_to_numbers(pose_of(0, 0, 0, [0.0, 0.0, 1.0]))).max() < 1e-12


def test_a_wrong_pose_is_left_for_the_global_one(topology):
    """Following alone would stay in the mirrored pose that explains a flat face nearly as well."""
    points, intrinsics = topology.landmarks(topology.template), assumed_intrinsics(640, 480, 50.0)
    truth = pose_of(40, 0, 0, [0.0, 0.0, 500.0])
    seen = project(points, Camera(intrinsics, truth, 640, 480))
    pose = solve_head_pose(points, seen, intrinsics, pose_of(-40, 0, 0, [0.0, 0.0, 500.0]))
    np.testing.assert_allclose(pose, truth, atol=1e-2)
