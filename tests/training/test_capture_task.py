import dataclasses

import numpy as np
import pytest
import torch
from dotted_faces import CODE_SIZE, RANGES, SIZE, WEIGHTS, dotted_renders, real_faces, semantic_model, train

from serep.models.capture_network import CaptureNetwork
from serep.training import checkpoint
from serep.training.augmentation import RenderAugmentation
from serep.training.capture_data import in_order, jittered_crops, mirrored_codes, mirrored_landmarks, sampling_shares
from serep.training.capture_task import LOSSES, CaptureTask, PosedRig, has_bfloat16
from serep.training.processes import ALONE, Group


@pytest.fixture(scope="module")
def semantic(topology):
    return semantic_model(topology)


@pytest.fixture(scope="module")
def renders(topology):
    return dotted_renders(topology)


def make_task(semantic, renders, *, real=None, weights=WEIGHTS, ranges=RANGES, balance=0.0, mixed_precision=False, ahead=0, group=ALONE):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    ids = semantic.topology.landmark_ids
    network = CaptureNetwork(encoder="residual_tiny", image_size=SIZE, code_size=CODE_SIZE, landmark_count=len(ids), local_width=4, hidden_width=16)
    draw = RenderAugmentation(ranges, image_size=SIZE, crop_scale=1.5, landmark_ids=ids, backgrounds=[], rng=rng)
    return CaptureTask(network, semantic, renders, renders, augmentation=draw, weights=weights, batch_size=16, real=real, real_share=0.25,
                       balance=balance, mixed_precision=mixed_precision, device=torch.device("cpu"), rng=rng, seed=0, ahead=ahead, group=group)


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
    terms = task.losses(1, 12)
    assert set(terms) == set(LOSSES) - {"domain", "real_landmarks"}
    heavy = make_task(semantic, renders, weights=WEIGHTS | {"code": 10.0}).losses(1, 12)
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


def test_real_faces_switch_the_domain_loss_on(semantic, renders):
    real = real_faces(semantic, renders, landmarks=False)
    task = make_task(semantic, renders, real=real)
    terms = task.losses(7, 12)
    assert set(terms) == set(LOSSES) - {"real_landmarks"}
    terms["domain"].backward()
    assert task.module.encoder.stem[0][0].weight.grad.abs().sum() > 0
    start = make_task(semantic, renders, real=real)
    start.losses(1, 12)["domain"].backward()  # reversal strength 0: the classifier learns, the encoder does not notice
    assert not start.module.encoder.stem[0][0].weight.grad.any()
    assert start.module.domain_classifier.layers[0].weight.grad.any()


@pytest.mark.parametrize(("domain", "given"), [(0.3, True), (0.0, True), (0.0, False)])
def test_landmarks_of_real_faces_are_a_loss_of_their_own(semantic, renders, domain, given):
    task = make_task(semantic, renders, real=real_faces(semantic, renders, landmarks=given), weights=WEIGHTS | {"domain": domain})
    terms = task.losses(7, 12)
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

    def rngs():
        return [np.random.default_rng(row) for row in rows]

    images, places = jittered_crops(faces, rows, rngs(), image_size=64, crop_scale=1.5, ranges=wide)
    for image, points in zip(images, places, strict=True):
        inside = (points > 0.1).all(axis=1) & (points < 0.9).all(axis=1)
        at = (points[inside] * 64).astype(int)
        assert image[at[:, 1], at[:, 0]].mean() > image.mean() + 15  # the dots are where the landmarks say
    again = jittered_crops(faces, rows, rngs(), image_size=64, crop_scale=1.5, ranges=wide)
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
    drawn = np.concatenate([task._rows(step) for step in range(1, 4)])
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
    drawn = np.bincount(np.concatenate([task._rows(step) for step in range(1, 7)]), minlength=48)
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


def test_batches_drawn_ahead_are_the_same(semantic, renders):
    real = real_faces(semantic, renders)
    now, ahead = make_task(semantic, renders, real=real), make_task(semantic, renders, real=real, ahead=3)
    for step in (1, 2, 3, 9, 10):  # also where a training goes on somewhere else
        one, other = now._batch(step, 10), ahead._batch(step, 10)
        for name in ("images", "landmarks", "present", "codes", "real_landmarks"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    ahead.close()


def test_processes_share_a_batch(semantic, renders):
    real, ranges = real_faces(semantic, renders), dataclasses.replace(RANGES, shift_jitter=0.1)
    whole = make_task(semantic, renders, real=real, ranges=ranges)._batch(3, 10)
    shares = [make_task(semantic, renders, real=real, ranges=ranges, group=Group(rank, 2))._batch(3, 10) for rank in range(2)]
    for name in ("landmarks", "codes", "present", "real_landmarks"):
        np.testing.assert_array_equal(np.concatenate([getattr(one, name) for one in shares]), getattr(whole, name))
    with pytest.raises(ValueError, match=r"batch_size is 16, which 3 processes cannot share evenly"):
        make_task(semantic, renders, group=Group(0, 3))


@pytest.mark.parametrize("killed_at", [1, 5, 12])
def test_a_capture_training_that_was_killed_ends_with_the_same_weights(semantic, renders, tmp_path, monkeypatch, killed_at):
    monkeypatch.setattr(checkpoint, "EVERY_S", 0.0)
    real, file, whole_losses = real_faces(semantic, renders), tmp_path / "capture.safetensors", CaptureTask.losses
    whole, curve = train(semantic, renders, real=real)

    def killed(task, step, steps):
        if step == killed_at:
            raise KeyboardInterrupt
        return whole_losses(task, step, steps)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(CaptureTask, "losses", killed)
        train(semantic, renders, real=real, checkpoint=file)
    assert file.is_file() == (killed_at > 1)
    resumed, again = train(semantic, renders, real=real, checkpoint=file)
    assert again == curve
    assert all(torch.equal(tensor, resumed.network.state_dict()[name]) for name, tensor in whole.network.state_dict().items())


def test_mixed_precision_trains_single_precision_weights(semantic, renders, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})  # emulated where it is not
    terms = make_task(semantic, renders, mixed_precision=True).losses(1, 12)
    assert all(value.dtype == torch.float32 and torch.isfinite(value) for value in terms.values())


def test_bfloat16_is_not_emulated(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False, "avx2": True})
    assert not has_bfloat16(torch.device("cpu"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert has_bfloat16(torch.device("cpu")) and not has_bfloat16(torch.device("mps"))


def test_wrong_weights_are_refused(semantic, renders):
    with pytest.raises(ValueError, match=r"loss weights must be given for code, vertices.*capture.loss_weights"):
        make_task(semantic, renders, weights={"code": 1.0})
