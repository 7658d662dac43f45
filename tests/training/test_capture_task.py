import dataclasses

import numpy as np
import pytest
import torch

from serep.data.real_faces import RealFaces
from serep.models.capture import CaptureSettings
from serep.models.capture_network import CaptureNetwork
from serep.models.face_finders import cut_square
from serep.models.face_tracker import TrackingSettings
from serep.models.semantic import DisplacementPca
from serep.models.smoothing import OneEuro
from serep.training.augmentation import AugmentationRanges, RenderAugmentation
from serep.training.capture_data import LabelledRenders, in_order, jittered_crops, mirrored_codes, mirrored_landmarks, sampling_shares
from serep.training.capture_task import LOSSES, CaptureTask, PosedRig, has_bfloat16, train_capture

SIZE, CODE_SIZE = 32, 2
RANGES = AugmentationRanges(
    scale_jitter=0.05, shift_jitter=0.02, rotation_deg=5.0, colour=0.0, saturation_min=1.0, grey_share=0.0, contrast=0.0, shading_share=0.0,
    blur_share=0.0, noise=0.0, jpeg_share=0.0, occluder_share=0.0, glasses_share=0.0, negative_share=0.1, shuffled_background_share=0.0,
)
WEIGHTS = {"code": 1.0, "vertices": 1.0, "landmarks_3d": 1.0, "landmarks_2d": 0.5, "heatmaps": 0.1, "openings": 0.5,
           "presence": 0.5, "domain": 0.3, "real_landmarks": 0.5}
ONE_EURO = OneEuro(min_cutoff=2.0, beta=0.5, speed_cutoff=1.0)
TRACKING = TrackingSettings(crop_scale=1.5, batch_frames=4, recentre_beyond=0.1, presence_threshold=0.5, patience_frames=5, thorough_every=5)
SETTINGS = CaptureSettings(TRACKING, 50.0, ONE_EURO, ONE_EURO, ONE_EURO)
FIT = {"steps": 12, "learning_rate": 3e-3, "weight_decay": 0.0, "warmup_share": 0.1, "gradient_clip": 1.0, "log_every": 4, "validate_every": 6}


@pytest.fixture(scope="module")
def semantic(topology):
    model = DisplacementPca(topology, code_size=CODE_SIZE)
    modes = np.zeros((CODE_SIZE, len(topology.template), 3), np.float32)
    modes[0, :, 1], modes[1, :, 0] = -topology.regions["mouth"], topology.regions["mouth"]
    model.modes[:] = torch.from_numpy(modes.reshape(CODE_SIZE, -1))
    model.decoder.matrix[:] = torch.diag(torch.tensor([5.0, 3.0]))
    return model.eval()


@pytest.fixture(scope="module")
def renders(topology):
    """The landmarks as dots; two codes move the mouth's dots down and sideways."""
    rng, count, size = np.random.default_rng(0), 48, 72
    codes = rng.standard_normal((count, CODE_SIZE)).astype(np.float32)
    flat = topology.landmarks(topology.template)[:, :2] * [1, -1]
    scale = 36 / np.ptp(flat, axis=0).max()
    mouth = flat[:, 1] > np.quantile(flat[:, 1], 0.6)
    places = ((flat - flat.mean(axis=0)) * scale + size / 2)[None] + mouth[None, :, None] * (codes[:, None, ::-1] * [3.0, 4.0])
    layers = np.zeros((count, size, size, 4), np.uint8)
    for layer, points in zip(layers, places.round().astype(int), strict=True):
        layer[4:-4, 4:-4] = (90, 80, 70, 255)
        layer[points[:, 1].clip(0, size - 1), points[:, 0].clip(0, size - 1), :3] = 255
    return LabelledRenders(layers, places.astype(np.float32), codes)


def make_task(semantic, renders, *, real=None, weights=WEIGHTS, ranges=RANGES, balance=0.0, mixed_precision=False):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    ids = semantic.topology.landmark_ids
    network = CaptureNetwork(encoder="residual_tiny", image_size=SIZE, code_size=CODE_SIZE, landmark_count=len(ids), local_width=4, hidden_width=16)
    draw = RenderAugmentation(ranges, image_size=SIZE, crop_scale=1.5, landmark_ids=ids, backgrounds=[], rng=rng)
    return CaptureTask(network, semantic, renders, renders, augmentation=draw, weights=weights, batch_size=16, real=real, real_share=0.25,
                       balance=balance, mixed_precision=mixed_precision, device=torch.device("cpu"), rng=rng)


def train(semantic, renders, real=None, seed=0, **changes):
    values = {"encoder": "residual_tiny", "image_size": SIZE, "local_width": 4, "hidden_width": 16, "augmentation": RANGES, "loss_weights": WEIGHTS,
              "real_share": 0.25, "balance": 0.0, "batch_size": 16, "mixed_precision": False, "settings": SETTINGS,
              "device": torch.device("cpu"), "backgrounds": []}
    return train_capture(renders, renders, semantic, real=real, seed=seed, **(values | FIT | changes))


def test_posed_rig_agrees_with_the_whole_rig(semantic, renders, rng):
    posed = PosedRig(semantic, renders.codes, device=torch.device("cpu"), rng=rng)
    codes = renders.codes[:5]
    vertices, landmarks = posed.displacements(torch.from_numpy(codes))
    rig = semantic.bind(semantic.mean_neutral)
    whole = semantic.topology.landmarks(rig.pose(codes) - rig.neutral.vertices)
    np.testing.assert_allclose(landmarks.numpy(), whole, atol=1e-3)
    assert vertices.shape[1] <= 400 and float(vertices.norm(dim=-1).mean()) > 0.3


def test_codes_of_another_model_are_refused(semantic, renders, rng):
    with pytest.raises(ValueError, match="move no vertex of the mean head"):
        PosedRig(semantic, np.zeros_like(renders.codes), device=torch.device("cpu"), rng=rng)


def test_terms_are_named_weighted_and_without_domain_where_nothing_is_real(semantic, renders):
    task = make_task(semantic, renders)
    terms = task.losses(0.0)
    assert set(terms) == set(LOSSES) - {"domain", "real_landmarks"}
    heavy = make_task(semantic, renders, weights=WEIGHTS | {"code": 10.0}).losses(0.0)
    torch.testing.assert_close(heavy["code"], 10 * terms["code"])


def test_true_answers_cost_nothing(semantic, renders):
    task = make_task(semantic, renders, ranges=dataclasses.replace(RANGES, negative_share=0.0))
    codes, landmarks = torch.from_numpy(renders.codes[:8]), torch.rand(8, len(semantic.topology.landmark_ids), 2)
    output = task.module(torch.rand(8, 3, SIZE, SIZE))
    exact = dataclasses.replace(output, codes=codes, landmarks=landmarks)
    terms = task._label_losses(exact, torch.ones(8, dtype=torch.bool), landmarks, codes)
    assert all(float(value) == pytest.approx(0.0, abs=1e-6) for name, value in terms.items() if name != "heatmaps")  # these have a floor of their own
    # what a crop without a face says about landmarks and codes does not count
    wrong = dataclasses.replace(exact, codes=codes.clone().index_fill_(0, torch.tensor([3]), 9.0))
    present = torch.arange(8) != 3
    assert float(task._label_losses(wrong, present, landmarks, codes)["vertices"]) == pytest.approx(0.0, abs=1e-6)


def real_faces(semantic, renders, count=12, landmarks=True):
    """Renders passed off as photographs: 48 px crops, twice as wide as the square around the landmarks."""
    stored, images, places = 48, [], []
    for layer, points in zip(renders.layers[:count], renders.landmarks[:count], strict=True):
        low, high = points.min(axis=0), points.max(axis=0)
        square = np.array([*(0.5 * (low + high)), (high - low).max()], np.float64)
        images.append(cut_square(np.ascontiguousarray(layer[..., :3]), square, 2.0, stored))
        places.append((points - (square[:2] - square[2])) * stored / (2 * square[2]))
    places = np.stack(places).astype(np.float32)
    return RealFaces(np.stack(images), places if landmarks else np.full_like(places, np.nan), tuple(semantic.topology.landmark_ids.tolist()), 2.0)


def test_real_faces_switch_the_domain_loss_on(semantic, renders):
    real = real_faces(semantic, renders, landmarks=False)
    task = make_task(semantic, renders, real=real)
    terms = task.losses(0.5)
    assert set(terms) == set(LOSSES) - {"real_landmarks"}
    terms["domain"].backward()
    assert task.module.encoder.stem[0][0].weight.grad.abs().sum() > 0
    start = make_task(semantic, renders, real=real)
    start.losses(0.0)["domain"].backward()  # reversal strength 0: the classifier learns, the encoder does not notice
    assert not start.module.encoder.stem[0][0].weight.grad.any()
    assert start.module.domain_classifier.layers[0].weight.grad.any()


@pytest.mark.parametrize(("domain", "given"), [(0.3, True), (0.0, True), (0.0, False)])
def test_landmarks_of_real_faces_are_a_loss_of_their_own(semantic, renders, domain, given):
    task = make_task(semantic, renders, real=real_faces(semantic, renders, landmarks=given), weights=WEIGHTS | {"domain": domain})
    terms = task.losses(0.5)
    assert ("domain" in terms, "real_landmarks" in terms) == (domain > 0, given)
    if given:
        terms["real_landmarks"].backward()
        assert task.module.landmark_head.heatmaps.weight.grad.abs().sum() > 0
        assert not any(weight.grad is not None and weight.grad.any() for weight in task.module.expression_head.layers.parameters())


def test_landmark_loss_counts_only_what_is_given(semantic, renders):
    task = make_task(semantic, renders, real=real_faces(semantic, renders))
    wanted = torch.rand(4, len(semantic.topology.landmark_ids), 2, generator=torch.Generator().manual_seed(0))
    assert float(task._landmark_loss(wanted, wanted)) == 0.0
    off = wanted.clone()
    off[1] += 0.05
    whole = float(task._landmark_loss(off, wanted))
    assert whole == pytest.approx(2 * (5 - 0.5) / 4, rel=1e-4)  # hundredths, smooth L1, over x and y, a quarter of the faces; the openings are right
    wanted[1] = float("nan")
    assert float(task._landmark_loss(off, wanted)) == 0.0
    wanted[:] = float("nan")
    assert float(task._landmark_loss(off, wanted)) == 0.0


def test_jittered_crops_take_their_landmarks_along(semantic, renders):
    faces, wide = real_faces(semantic, renders), dataclasses.replace(RANGES, shift_jitter=0.05, scale_jitter=0.1, rotation_deg=20.0)
    rows = np.arange(8)
    images, places = jittered_crops(faces, rows, image_size=64, crop_scale=1.5, ranges=wide, rng=np.random.default_rng(0))
    for image, points in zip(images, places, strict=True):
        inside = (points > 0.1).all(axis=1) & (points < 0.9).all(axis=1)
        at = (points[inside] * 64).astype(int)
        assert image[at[:, 1], at[:, 0]].mean() > image.mean() + 15  # the dots are where the landmarks say
    again = jittered_crops(faces, rows, image_size=64, crop_scale=1.5, ranges=wide, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(again[0], images)
    assert np.abs(places.mean(axis=1) - 0.5).max() > 0.02


def test_mirrored_landmarks_and_codes(semantic, topology, renders):
    partner = mirrored_landmarks(topology)
    names = dict(zip(topology.landmark_ids.tolist(), topology.landmark_ids[partner].tolist(), strict=True))
    assert all(names[right] == left and names[left] == right for right, left in ((33, 263), (133, 362), (159, 386), (61, 291))) and names[13] == 13
    assert mirrored_landmarks(dataclasses.replace(topology, mirror=None)) is None
    again = semantic.encode(semantic.mean_neutral, semantic.bind(semantic.mean_neutral).pose(renders.codes))
    np.testing.assert_allclose(mirrored_codes(semantic, renders.codes), again * [1, -1], rtol=1e-3, atol=1.0)  # down stays down, to one side becomes to the other
    assert np.abs(again).mean() > 50


def test_landmarks_come_in_the_model_s_order(semantic, renders):
    faces = real_faces(semantic, renders)
    shuffled = dataclasses.replace(faces, landmarks=faces.landmarks[:, ::-1][:, 1:], landmark_ids=faces.landmark_ids[::-1][1:])
    back = in_order(shuffled, semantic.topology.landmark_ids)
    np.testing.assert_array_equal(back.landmarks[:, :-1], faces.landmarks[:, :-1])
    assert np.isnan(back.landmarks[:, -1]).all() and back.landmark_ids == faces.landmark_ids


def test_every_render_is_drawn_once_before_any_twice(semantic, renders):
    task = make_task(semantic, renders)
    drawn = np.concatenate([task._next_rows() for _ in range(3)])
    assert sorted(drawn.tolist()) == list(range(48))


def test_balance_draws_rare_openings_more_often(rng):
    openings = np.concatenate([rng.normal(0, 0.1, (900, 2)), np.stack([rng.uniform(-8, -1, 100), np.zeros(100)], axis=1)])
    np.testing.assert_allclose(sampling_shares(openings, 0.0), 1.0)
    shares = sampling_shares(openings, 0.5)
    assert shares.mean() == pytest.approx(1.0) and shares.max() <= 4.0 + 1e-6
    assert shares[900:].mean() > 2 * shares[:900].mean()


def test_shares_are_kept_exactly(semantic, renders):
    task = make_task(semantic, renders)
    task._shares = np.where(np.arange(48) < 16, 2.0, 0.5)
    drawn = np.bincount(np.concatenate([task._next_rows() for _ in range(6)]), minlength=48)
    assert (drawn[:16] == 4).all() and drawn[16:].sum() == 32 and drawn[16:].max() <= 2


def test_codes_are_standardised_by_the_training_set(semantic, renders):
    network = make_task(semantic, renders).module
    standard = network.standardise(torch.from_numpy(renders.codes))
    torch.testing.assert_close(standard.mean(dim=0), torch.zeros(CODE_SIZE), atol=1e-5, rtol=0)
    torch.testing.assert_close(standard.std(dim=0, unbiased=False), torch.ones(CODE_SIZE), atol=1e-5, rtol=0)


def test_training_lowers_the_losses(semantic, renders):
    rows = []
    model, curve = train(semantic, renders, steps=120, learning_rate=5e-3, log_every=20, validate_every=60, on_metrics=lambda row, step: rows.append(step))
    assert curve[-1]["val_landmarks_pct"] < 0.5 * curve[0]["landmarks_2d"]
    posed = PosedRig(semantic, renders.codes, device=torch.device("cpu"), rng=np.random.default_rng(0))
    idle = posed.displacements(torch.from_numpy(renders.codes))[0].norm(dim=-1).mean()
    assert curve[-1]["val_vertices_mm"] < 0.75 * idle
    assert rows == [20, 40, 60, 80, 100, 120]
    assert {"val_code", "val_vertices_mm", "val_landmarks_pct"} <= set(curve[-1])
    assert not model.network.training


def test_same_seed_same_model(semantic, renders):
    real = real_faces(semantic, renders)
    first, second = (train(semantic, renders, real=real, steps=3)[0].network.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = train(semantic, renders, real=real, steps=3, seed=1)[0].network.state_dict()
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_mixed_precision_trains_single_precision_weights(semantic, renders, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})  # emulated where it is not
    terms = make_task(semantic, renders, mixed_precision=True).losses(0.0)
    assert all(value.dtype == torch.float32 and torch.isfinite(value) for value in terms.values())


def test_bfloat16_is_not_emulated(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False, "avx2": True})
    assert not has_bfloat16(torch.device("cpu"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert has_bfloat16(torch.device("cpu")) and not has_bfloat16(torch.device("mps"))


def test_wrong_weights_are_refused(semantic, renders):
    with pytest.raises(ValueError, match=r"loss weights must be given for code, vertices.*capture.loss_weights"):
        make_task(semantic, renders, weights={"code": 1.0})
