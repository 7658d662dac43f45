"""Maps from another topology: what they convert, what they cost, and what they refuse."""
import numpy as np
import pytest
from multirex_world import FLAME, MULTIFACE, PEOPLE, egg, motion, person_scale, write_world
from scipy.spatial.transform import Rotation

from serep.benchmark.multirex import region_errors
from serep.benchmark.multirex_assets import protocol_from_assets
from serep.benchmark.multirex_conversion import build_conversion, neutrals_by, neutrals_in, write_conversions
from serep.benchmark.multirex_score import score_multirex
from serep.geometry.mesh import Mesh
from serep.geometry.mesh_io import write_mesh


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("multirex_world"), frames=6)


@pytest.fixture(scope="module")
def protocol(world):
    return protocol_from_assets(world.assets)


def test_rows_are_barycentric_and_carry_the_motion(protocol):
    neutral, multiface = egg(9000, turn=1.0), egg(MULTIFACE)
    built = build_conversion(neutral, multiface, protocol)
    used = protocol.compact()[1]
    rows = built.matrix[used]
    assert built.matrix.shape == (MULTIFACE, 9000) and rows.data.min() >= 0 and np.diff(rows.indptr).max() <= 3
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-12)
    assert built.distance.mean() < 0.2
    predicted = np.stack([built.matrix @ frame for frame in neutral.vertices + motion(neutral.vertices, 6)])
    errors = region_errors(predicted, multiface.vertices + motion(multiface.vertices, 6), protocol, mode="fixed")
    assert errors.max() < 0.1


def test_a_difference_in_pose_is_taken_off(protocol):
    """Turned by 4 degrees and 6 mm away: the map is the same as without, so the prediction's own pose does not matter."""
    neutral, multiface = egg(9000, turn=1.0), egg(MULTIFACE)
    turned = neutral.with_vertices(neutral.vertices @ Rotation.from_euler("xyz", [4, -3, 2], degrees=True).as_matrix().T + [3.0, -4.0, 3.0])
    built = build_conversion(turned, multiface, protocol)
    errors = region_errors((built.matrix @ neutral.vertices)[None], multiface.vertices[None], protocol, mode="fixed")
    assert errors.max() < 1.5 and built.distance.mean() < 0.5  # an egg hardly says how it is turned about its axis, a face does


def test_another_head_or_a_holed_one_is_refused(protocol):
    neutral, multiface = egg(FLAME, turn=0.3), egg(MULTIFACE)
    with pytest.raises(ValueError, match=r"the neutral lies .* mm from the published one on average \(at most 1.5 mm\): it must be the same person, in mm"):
        build_conversion(neutral.with_vertices(1.6 * neutral.vertices), multiface, protocol)
    inside_out = Mesh(neutral.vertices, neutral.faces[:, ::-1])
    with pytest.raises(ValueError, match=r"its triangles face inwards|mm from the published one"):
        build_conversion(inside_out, multiface, protocol)


def test_files_of_a_whole_topology(world, protocol, tmp_path):
    """From neutrals in cm to scored predictions: the way a lab with its own topology goes."""
    neutrals, maps, predictions = (tmp_path / name for name in ("neutrals", "maps", "predictions"))
    neutrals.mkdir()
    predictions.mkdir()
    own = egg(9000, turn=1.0)
    for identity in PEOPLE:
        write_mesh(neutrals / f"{identity}_neutral.obj", own.with_vertices(own.vertices * person_scale(identity) / 10))
    floors = dict(write_conversions(maps, world.assets, neutrals_in(neutrals, world.assets, unit="cm")))
    assert sorted(path.name for path in maps.iterdir()) == sorted(f"{identity}{suffix}" for identity in PEOPLE for suffix in (".npz", ".obj"))
    for identity, (sequence, cameras) in PEOPLE.items():
        vertices = own.vertices * person_scale(identity)
        for camera in cameras:
            np.save(predictions / f"{sequence}{camera}.npy", (vertices + motion(vertices, 6)).astype(np.float32))
    result = score_multirex(predictions, world.truth, world.assets, method="own", unit="mm", maps=maps)
    for identity, floor in floors.items():
        np.testing.assert_allclose(result.floor[identity], list(floor.values()), atol=1e-6)
    assert max(video.fixed.max() for video in result.videos) < 0.1
    (neutrals / "33_neutral.obj").unlink()
    with pytest.raises(FileNotFoundError, match=r"0 neutrals of person 33 in .*needs exactly one \(33\*\.obj or \.ply\)"):
        neutrals_in(neutrals, world.assets, unit="cm")
    write_mesh(neutrals / "33_neutral.obj", own)
    with pytest.raises(ValueError, match=r"1111_neutral\.obj: the neutral lies 35"):
        list(write_conversions(tmp_path / "never", world.assets, neutrals_in(neutrals, world.assets, unit="mm")))
    assert not (tmp_path / "never").exists()


def test_neutrals_that_a_model_makes(world, tmp_path):
    """A model that lies exactly on each person, and one that finds no face."""
    target, own = egg(MULTIFACE), egg(9000, turn=1.0)

    def laid_on(neutral):
        scale = np.ptp(neutral.vertices[:, 0]) / np.ptp(target.vertices[:, 0])
        return own.with_vertices(own.vertices * scale)

    floors = dict(write_conversions(tmp_path, world.assets, neutrals_by(laid_on)))
    assert set(floors) == set(PEOPLE) and max(max(floor.values()) for floor in floors.values()) < 0.1

    def refuses(neutral):
        raise ValueError("no face")

    with pytest.raises(ValueError, match="the model cannot be laid on person 1111: no face"):
        next(write_conversions(tmp_path, world.assets, neutrals_by(refuses)))
