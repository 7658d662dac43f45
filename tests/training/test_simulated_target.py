import dataclasses

import numpy as np
import pytest

from serep.training.capture_data import LabelledRenders, jittered_crops, plain_crops
from serep.training.simulated_target import COVER, SimulatedCamera, photograph

NOTHING = SimulatedCamera(mottle=0.0, fringe=0.0, vignette=0.0, veil=0.0, halo=0.0, blotch=0.0)
STRONG = {"mottle": 0.2, "fringe": 0.05, "vignette": 0.8, "veil": 0.5, "halo": 2.0, "blotch": 0.1}
IDS = np.arange(4, dtype=np.int32)


@pytest.fixture(scope="module")
def renders():
    """Grey heads with white dots where the landmarks are, each at another place."""
    rng, size = np.random.default_rng(0), 96
    layers, landmarks = np.zeros((6, size, size, 4), np.uint8), []
    for layer in layers:
        centre = rng.uniform(46, 50, 2)
        points = centre + 22 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        layer[8:-8, 8:-8] = (100, 100, 100, 255)
        for x, y in points.astype(int):
            layer[y - 1:y + 2, x - 1:x + 2, :3] = 255
        landmarks.append(points)
    return LabelledRenders(layers, np.array(landmarks, np.float32), np.zeros((6, 2), np.float32))


def take(renders, camera=NOTHING, *, error=0.0, seed=1):
    return photograph(renders, camera, landmark_ids=IDS, landmark_error=error, rng=np.random.default_rng(seed))


def test_landmarks_are_where_the_dots_are(renders):
    faces = take(renders)
    assert faces.images.shape == (6, 96, 96, 3) and faces.landmark_ids == (0, 1, 2, 3) and faces.cover == COVER
    for image, points in zip(faces.images, faces.landmarks, strict=True):
        assert (image[points[:, 1].astype(int), points[:, 0].astype(int)] > 200).all()
        np.testing.assert_allclose(np.ptp(points, axis=0), 96 / COVER, rtol=1e-4)
    crops, places = plain_crops(faces, image_size=64, crop_scale=1.5)
    np.testing.assert_allclose(places.mean(axis=1), 0.5, atol=1e-5)
    at = (places * 64).astype(int)
    assert all((crop[points[:, 1], points[:, 0]] > 150).all() for crop, points in zip(crops, at, strict=True))


def test_landmarks_may_be_absent_or_off(renders):
    assert np.isnan(take(renders, error=None).landmarks).all()
    off = take(renders, error=0.05).landmarks - take(renders).landmarks
    assert 0.5 < off.std() / (0.05 * 96 / COVER) < 1.5


@pytest.mark.parametrize("effect", STRONG)
def test_every_effect_changes_the_picture_and_grows_with_its_strength(renders, effect):
    plain = take(renders).images.astype(float)
    changes = [np.abs(take(renders, dataclasses.replace(NOTHING, **{effect: share * STRONG[effect]})).images - plain).mean() for share in (0.0, 0.4, 1.0)]
    assert changes[0] == 0.0 and 0.2 < changes[1] < changes[2]


def test_effects_are_those_of_their_names(renders):
    corner, middle = (slice(None), slice(0, 6), slice(0, 6)), (slice(None), slice(44, 52), slice(44, 52))
    plain, dark = take(renders).images.astype(float), take(renders, dataclasses.replace(NOTHING, vignette=0.8)).images
    assert dark[corner].mean() < 0.75 * plain[corner].mean() and dark[middle].mean() > 0.97 * plain[middle].mean()
    hazy = take(renders, dataclasses.replace(NOTHING, veil=0.6)).images
    assert hazy[..., 1].std(axis=(1, 2)).mean() < 0.75 * plain[..., 1].std(axis=(1, 2)).mean()
    assert hazy[..., 0].mean() - plain[..., 0].mean() > hazy[..., 2].mean() - plain[..., 2].mean()


def test_the_same_seed_gives_the_same_photographs(renders):
    camera = SimulatedCamera(**STRONG)
    np.testing.assert_array_equal(take(renders, camera).images, take(renders, camera).images)
    assert (take(renders, camera).images != take(renders, camera, seed=2).images).any()


@pytest.mark.parametrize("wrong", [{"veil": 1.5}, {"mottle": -0.1}])
def test_impossible_strengths_are_refused(wrong):
    with pytest.raises(ValueError, match=r"of the simulated camera must not be negative.*simulated\.camera"):
        dataclasses.replace(NOTHING, **wrong)


def test_they_train_as_real_faces_do(renders):
    """The crops that the training draws from them show their landmarks too."""
    from serep.training.augmentation import AugmentationRanges

    ranges = AugmentationRanges(**(dict.fromkeys((field.name for field in dataclasses.fields(AugmentationRanges)), 0.0) | {"shift_jitter": 0.02}))
    crops, places = jittered_crops(take(renders), np.arange(6), [np.random.default_rng(row) for row in range(6)], image_size=64, crop_scale=1.5, ranges=ranges)
    at = (places * 64).astype(int)
    assert all((crop[points[:, 1], points[:, 0]] > 150).all() for crop, points in zip(crops, at, strict=True))
    assert places.mean(axis=1).std() > 0.005
