import dataclasses

import numpy as np
import pytest

from serep.training.augmentation import AugmentationRanges, RenderAugmentation
from serep.training.backgrounds import random_background
from serep.training.degradation import NoisePool, ToneRanges, degrade, draw_glasses, draw_occluder, eye_corners, relight

SIZE = 64
NOTHING = AugmentationRanges(
    scale_jitter=0.0, shift_jitter=0.0, rotation_deg=0.0, colour=0.0, saturation_min=1.0, grey_share=0.0, contrast=0.0,
    shading_share=0.0, blur_share=0.0, noise=0.0, jpeg_share=0.0, occluder_share=0.0, glasses_share=0.0, negative_share=0.0, shuffled_background_share=0.0,
)
EVERYTHING = AugmentationRanges(
    scale_jitter=0.1, shift_jitter=0.04, rotation_deg=20.0, colour=0.1, saturation_min=0.3, grey_share=0.1, contrast=0.2,
    shading_share=0.5, blur_share=0.5, noise=0.1, jpeg_share=0.5, occluder_share=0.5, glasses_share=0.5, negative_share=0.3, shuffled_background_share=0.5,
)
IDS = np.array([33, 133, 263, 362])


def dots(rng, count=6, landmarks=4):
    """Renders of coloured dots at the landmarks, on an opaque grey disc."""
    places = rng.uniform(45, 85, (count, landmarks, 2)).astype(np.float32)
    places[:, 0], places[:, 1] = (44, 44), (86, 84)  # so that the crop's size is the same for all
    y, x = np.mgrid[:130, :130] + 0.5
    layers = np.zeros((count, 130, 130, 4), np.uint8)
    for layer, points in zip(layers, places, strict=True):
        layer[..., 3] = 255
        light = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / 4) for px, py in points)
        layer[..., :3] = np.round(255 * np.minimum(light, 1))[..., None]
    return layers, places


def augmentation(ranges, rng, backgrounds=()):
    return RenderAugmentation(ranges, image_size=SIZE, crop_scale=1.5, landmark_ids=IDS, backgrounds=list(backgrounds), rng=rng)


def each(count, seed=0):
    """A random generator for each picture."""
    return [np.random.default_rng([seed, row]) for row in range(count)]


def test_landmarks_stay_on_what_they_mark(rng):
    layers, places = dots(rng, count=20)
    turning = dataclasses.replace(NOTHING, scale_jitter=0.15, shift_jitter=0.05, rotation_deg=40.0)
    batch = augmentation(turning, rng).draw(layers, places, each(20))
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    checked = 0
    for image, points in zip(batch.images[..., 0].astype(float), batch.landmarks * SIZE, strict=True):
        distances = np.linalg.norm(points[:, None] - points[None], axis=-1) + 99 * np.eye(4)
        for point in points[(distances.min(axis=1) > 12) & (points > 6).all(axis=1) & (points < SIZE - 6).all(axis=1)]:
            near = image * ((x - point[0]) ** 2 + (y - point[1]) ** 2 < 25)
            centre = np.array([(near * x).sum(), (near * y).sum()]) / near.sum()
            np.testing.assert_allclose(centre, point, atol=0.15)
            checked += 1
    assert checked > 20


def test_same_seed_same_crops_and_another_seed_others(rng):
    layers, places = dots(rng, count=12)
    one, same, other = (augmentation(EVERYTHING, np.random.default_rng(5)).draw(layers, places, each(12, seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.images, same.images)
    np.testing.assert_array_equal(one.landmarks, same.landmarks)
    np.testing.assert_array_equal(one.present, same.present)
    assert (one.images != other.images).any()


def test_plain_crops_are_centred_and_bare(rng):
    layers, places = dots(rng)
    batch = augmentation(EVERYTHING, rng).plain(layers, places, rng)
    middle = 0.5 * (batch.landmarks.min(axis=1) + batch.landmarks.max(axis=1))
    np.testing.assert_allclose(middle, 0.5, atol=1e-5)
    np.testing.assert_allclose((batch.landmarks.max(axis=1) - batch.landmarks.min(axis=1)).max(axis=1), 1 / 1.5, rtol=1e-5)
    assert batch.present.all()


def face_points(turned_deg):
    """A face of six landmarks in px, turned about its middle: corners of eyes (33, 133, 263, 362) and mouth (61, 291)."""
    angle = np.radians(turned_deg)
    points = np.array([[50, 50], [60, 50], [80, 50], [70, 50], [56, 80], [74, 80]], float)[[0, 4, 1, 2, 5, 3]] - [65, 65]
    return (points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) + [65, 65]).astype(np.float32)


FACE_IDS = np.array([33, 61, 133, 263, 291, 362])


def test_faces_are_set_upright(rng):
    points = np.stack([face_points(angle) for angle in (-35, 0, 20)])
    draw = RenderAugmentation(NOTHING, image_size=SIZE, crop_scale=1.5, landmark_ids=FACE_IDS, backgrounds=[], rng=rng)
    layers = np.zeros((3, 130, 130, 4), np.uint8)
    for batch in (draw.plain(layers, points, rng), draw.draw(layers, points, each(3))):
        np.testing.assert_allclose(batch.landmarks, batch.landmarks[[1, 1, 1]], atol=1e-4)
        np.testing.assert_allclose(batch.landmarks[0, 0, 1], batch.landmarks[0, 3, 1], atol=1e-4)


def test_mirrored_crops_show_the_mirror_image(rng):
    points = np.repeat(face_points(0)[None], 24, axis=0)
    points[:, 0] -= 3  # the right eye is larger
    layers = np.zeros((24, 130, 130, 4), np.uint8)
    layers[:, :, :60, :] = 255  # white on the right eye's side
    partner = np.array([3, 4, 5, 0, 1, 2])
    assert FACE_IDS[partner].tolist() == [263, 291, 362, 33, 61, 133]
    draw = RenderAugmentation(NOTHING, image_size=SIZE, crop_scale=1.5, landmark_ids=FACE_IDS, backgrounds=[np.zeros((9, 9, 3), np.uint8)], rng=rng,
                              mirror=partner)
    draw._pool = draw._pool[-1:]
    batch = draw.draw(layers, points, each(24))
    assert 4 < batch.mirrored.sum() < 20 and not augmentation(NOTHING, rng).draw(*dots(rng), each(6)).mirrored.any()
    left, right = batch.images[:, :, :10].mean(axis=(1, 2, 3)), batch.images[:, :, -10:].mean(axis=(1, 2, 3))
    assert (left[~batch.mirrored] > 200).all() and (right[batch.mirrored] > 200).all() and (left[batch.mirrored] < 50).all()
    plain, mirrored = batch.landmarks[~batch.mirrored][0], batch.landmarks[batch.mirrored][0]
    np.testing.assert_allclose(mirrored, (plain * [-1, 1] + [1, 0])[partner], atol=0.01)  # landmark 33 is on the left of the picture in both
    assert mirrored[0, 0] < 0.5 and plain[0, 0] < 0.5


def test_background_fills_exactly_what_the_mask_leaves(rng):
    layers, places = dots(rng, count=3)
    layers[...] = 0
    layers[:, :, :65] = 255  # left half of the picture: white and opaque
    red = np.zeros((20, 20, 3), np.uint8)
    red[..., 0] = 200
    draw = augmentation(NOTHING, rng, backgrounds=[red])
    draw._pool = draw._pool[-1:]  # one of the backgrounds given
    image = draw.draw(layers, places, each(3)).images[0]
    assert (image[:, :20] == 255).all()
    assert (np.abs(image[:, -20:].astype(int) - [200, 0, 0]) <= 1).all()


def test_negatives_have_no_centred_face(rng):
    layers, places = dots(rng, count=60)
    batch = augmentation(dataclasses.replace(NOTHING, negative_share=0.5), rng).draw(layers, places, each(60))
    assert 10 < batch.present.sum() < 50
    sides = (batch.landmarks.max(axis=1) - batch.landmarks.min(axis=1)).max(axis=1)
    away = np.abs(0.5 * (batch.landmarks.min(axis=1) + batch.landmarks.max(axis=1)) - 0.5).max(axis=1)
    np.testing.assert_allclose(sides[batch.present], 1 / 1.5, rtol=1e-4)
    assert ((away > 0.2) | (sides > 1) | (sides < 0.3))[~batch.present].all()


def test_no_change_changes_nothing(rng):
    picture = rng.integers(256, size=(SIZE, SIZE, 3), dtype=np.uint8)
    pool = NoisePool(SIZE, rng=rng)
    np.testing.assert_array_equal(degrade(picture, 0.0, 0.0, 0.0, pool, rng=rng), picture)


@pytest.mark.parametrize("share", ["blur_share", "jpeg_share"])
def test_each_degradation_acts_and_keeps_the_mean(share, rng):
    picture, pool = np.full((SIZE, SIZE, 3), 60, np.uint8), NoisePool(SIZE, rng=rng)
    picture[16:48, 16:48] = (220, 120, 40)
    shares = {"blur_share": 0.0, "jpeg_share": 0.0} | {share: 1.0}
    changed = degrade(picture, shares["blur_share"], 0.0, shares["jpeg_share"], pool, rng=rng)
    assert (changed != picture).any()
    np.testing.assert_allclose(changed.mean(axis=(0, 1)), picture.mean(axis=(0, 1)), atol=3)


def test_noise_has_no_more_than_the_asked_spread(rng):
    picture, pool = np.full((SIZE, SIZE, 3), 128, np.uint8), NoisePool(SIZE, rng=rng)
    spreads = [degrade(picture, 0.0, 0.1, 0.0, pool, rng=rng).std() for _ in range(40)]
    assert 5 < max(spreads) < 1.05 * 25.5


def test_relight_keeps_shape_type_and_order_of_brightness(rng):
    ramp = np.repeat(np.linspace(20, 230, SIZE)[None, :, None], SIZE, axis=0).repeat(3, axis=2).astype(np.uint8)
    lit = relight(ramp, ToneRanges(0.0, 0.5, 0.2, 0.3, 0.0), rng=rng)
    assert lit.dtype == np.uint8 and lit.shape == ramp.shape
    assert (np.diff(lit[0, :, 1].astype(int)) >= 0).all()


def test_occluders_keep_off_the_middle(rng):
    covered = np.zeros((SIZE, SIZE))
    for _ in range(200):
        picture = np.full((SIZE, SIZE, 3), 7, np.uint8)
        draw_occluder(picture, None, rng=rng)
        covered += (picture != 7).any(axis=2)
    assert covered[28:36, 28:36].mean() < 0.7 * covered.mean()


def test_glasses_surround_the_eyes_and_leave_them_open(rng):
    corners = np.array([[14.0, 30.0], [26.0, 30.0], [38.0, 30.0], [50.0, 30.0]])
    for _ in range(20):
        picture = np.full((SIZE, SIZE, 3), 200, np.uint8)
        draw_glasses(picture, corners, rng=rng)
        dark = (picture < 180).any(axis=2)
        assert dark.any() and not dark[29:32, 18:22].any() and not dark[29:32, 42:46].any()
        rows, columns = np.nonzero(dark)
        assert rows.min() > 8 and rows.max() < 50 and columns.min() < 14 and columns.max() > 50


def test_glasses_need_all_four_corners():
    assert eye_corners(np.array([362, 33, 133, 1, 263])) == [1, 2, 0, 4]
    assert eye_corners(np.array([33, 133, 263])) is None


def test_backgrounds_differ(rng):
    pictures = [random_background(32, rng=rng) for _ in range(40)]
    assert all(picture.shape == (32, 32, 3) and picture.dtype == np.uint8 for picture in pictures)
    assert len({picture.tobytes() for picture in pictures}) == 40
    assert np.std([picture.mean() for picture in pictures]) > 15
