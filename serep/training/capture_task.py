"""Trains the capture network on renders, and on real faces where there are any."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from serep.data.real_faces import RealFaces
from serep.models.capture import CaptureModel, CaptureSettings
from serep.models.capture_network import CaptureNetwork, CaptureOutput, heatmap_loss, reversal_strength
from serep.models.engine import images_to_network
from serep.models.semantic import SemanticModel
from serep.training.augmentation import AugmentationRanges, RenderAugmentation
from serep.training.capture_data import LabelledRenders, in_order, jittered_crops, mirrored_codes, mirrored_landmarks, sampling_shares
from serep.training.checkpoint import Checkpoint, training_key
from serep.training.degradation import NoisePool, degrade, relight
from serep.training.loop import fit
from serep.training.posed_rig import PosedRig
from serep.training.processes import ALONE, Group

__all__ = ["LOSSES", "CaptureTask", "LabelledRenders", "PosedRig", "RealFaces", "train_capture"]

LOSSES = ("code", "vertices", "landmarks_3d", "landmarks_2d", "heatmaps", "openings", "presence", "domain", "real_landmarks")
# Upper and lower points of lids and inner lips (MediaPipe ids): what is between them is small in mm and all that people look at.
OPENINGS = ((159, 145), (160, 144), (158, 153), (386, 374), (387, 373), (385, 380), (13, 14), (82, 87), (312, 317))
LEAST_SPREAD = 1e-3  # share of the mean spread below which a code number counts as constant; keeps standardising finite
LANDMARK_MARGIN = 0.08  # landmarks this far outside of the crop still count for the loss
VALIDATION_BATCH = 128
PICTURES, PHOTOGRAPHS, ORDERS = 1, 2, 3  # what a random generator is for, beside the seed


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 itself; where it is emulated, single precision is faster."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return device.type == "cpu" and any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


@dataclass(frozen=True, eq=False)
class _Batch:
    """Augmented renders, and real crops behind them."""

    images: UInt8[np.ndarray, "N S S 3"]
    landmarks: Float[np.ndarray, "B L 2"]
    present: Bool[np.ndarray, " B"]
    codes: Float[np.ndarray, "B Z"]
    real_landmarks: Float[np.ndarray, "n L 2"]


class CaptureTask:
    """Losses of one batch of augmented renders (and real faces), and scores on held-out renders. `weights` names a factor for each of LOSSES.

    Real faces serve the domain classifier, and those with landmarks the landmark head; a term that nothing serves is absent.

    The batch of a step comes from `seed` and the step alone, each of its pictures with a random generator of its own. `ahead` threads draw the
    batches of coming steps; with 0 they are drawn when they are asked for.
    """

    def __init__(self, network: CaptureNetwork, semantic: SemanticModel, train: LabelledRenders, validation: LabelledRenders, *,
                 augmentation: RenderAugmentation, weights: Mapping[str, float], batch_size: int, real: RealFaces | None,
                 real_share: float, balance: float, mixed_precision: bool, device: torch.device, rng: np.random.Generator, seed: int,
                 ahead: int = 0, group: Group = ALONE):
        if set(weights) != set(LOSSES):
            raise ValueError(f"loss weights must be given for {', '.join(LOSSES)}; got {', '.join(weights)} (params: capture.loss_weights)")
        self.module = network
        self._train, self._augmentation, self._weights, self._seed, self._device = train, augmentation, dict(weights), seed, device
        self._batch_size, self._mixed_precision = batch_size, mixed_precision and has_bfloat16(device)
        self._real = in_order(real, semantic.topology.landmark_ids) if real is not None and len(real.images) else None
        self._real_terms = [] if self._real is None else [name for name, serves in (
            ("domain", True), ("real_landmarks", np.isfinite(self._real.landmarks).any())) if serves and weights[name] > 0]
        each = max(2, round(real_share * batch_size / group.count))
        self._real_count = each * group.count if self._real_terms else 0
        self._share, self._real_rows = group.share(batch_size, "batch_size"), group.share(self._real_count, "the number of real faces in a batch")
        self._pool, self._ahead, self._waiting = ThreadPoolExecutor(max(1, ahead), "draw"), ahead, {}
        self._noise = NoisePool(network.image_size, rng=rng)
        spread = train.codes.std(axis=0)
        with torch.no_grad():
            network.code_mean.copy_(torch.from_numpy(train.codes.mean(axis=0)))
            network.code_spread.copy_(torch.from_numpy(np.maximum(spread, LEAST_SPREAD * spread.mean())))
        self._posed = PosedRig(semantic, train.codes, device=device, rng=rng)
        held_out = augmentation.plain(validation.layers, validation.landmarks, rng)  # drawn once: all validations see the same pictures
        self._held_out, self._held_out_codes = held_out, torch.from_numpy(validation.codes)
        self._upper, self._lower = (torch.from_numpy(semantic.topology.landmark_rows(ends).astype(np.int64)) for ends in zip(*OPENINGS, strict=True))
        self._shares = sampling_shares(self._train_openings(), balance)
        self._orders: dict[int, np.ndarray] = {}
        self._mirrored_codes = mirrored_codes(semantic, train.codes) if augmentation.mirrors else train.codes

    def losses(self, step: int, steps: int) -> dict[str, Tensor]:
        batch = self._batch(step, steps)
        images = images_to_network(batch.images, self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._mixed_precision):
            output = self.module(images)
        present, landmarks, codes = (torch.from_numpy(one).to(self._device) for one in (batch.present, batch.landmarks, batch.codes))
        count = len(present)
        terms = self._label_losses(output, present, landmarks, codes)
        terms["presence"] = functional.binary_cross_entropy_with_logits(output.presence[:count], present.float())
        if "real_landmarks" in self._real_terms:
            terms["real_landmarks"] = self._landmark_loss(output.landmarks[count:], torch.from_numpy(batch.real_landmarks).to(self._device))
        if "domain" in self._real_terms:
            faces = torch.cat([output.features[:count][present], output.features[count:]])
            logits = self.module.domain_classifier(faces, reversal_strength((step - 1) / steps))
            is_real = (torch.arange(len(faces), device=self._device) >= len(faces) - len(self._real_rows)).float()
            terms["domain"] = functional.binary_cross_entropy_with_logits(logits, is_real)
        return {name: self._weights[name] * value for name, value in terms.items()}

    def state(self) -> dict[str, Tensor]:
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        pass

    def close(self) -> None:
        """Ends the threads that draw."""
        self._pool.shutdown(cancel_futures=True)

    def _batch(self, step: int, steps: int) -> _Batch:
        if not self._ahead:
            return self._draw_batch(step, self._rows(step))
        for coming in range(step, min(step + 2 * self._ahead, steps) + 1):
            if coming not in self._waiting:
                self._waiting[coming] = self._pool.submit(self._draw_batch, coming, self._rows(coming))
        return self._waiting.pop(step).result()

    def _draw_batch(self, step: int, rows: Int[np.ndarray, " B"]) -> _Batch:
        """This process's share of the batch of one step."""
        rngs = [np.random.default_rng([self._seed, PICTURES, step, place]) for place in self._share]
        crops = self._augmentation.draw(self._train.layers[rows], self._train.landmarks[rows], rngs)
        codes = np.where(crops.mirrored[:, None], self._mirrored_codes[rows], self._train.codes[rows])
        images, places = crops.images, np.zeros((0, *crops.landmarks.shape[1:]), np.float32)
        if self._real_count:
            real, places = self._draw_real(step)
            images = np.concatenate([images, real])
        return _Batch(images, crops.landmarks, crops.present, codes, places)

    def _label_losses(self, output: CaptureOutput, present: Tensor, landmarks: Tensor, codes: Tensor) -> dict[str, Tensor]:
        """Only crops that show a face count. Lengths: mm on the mean head, and hundredths of the crop's side."""
        count = len(present)
        predicted, reference = output.codes[:count][present], codes[present]
        vertices, landmarks_3d = self._posed.displacements(predicted)
        with torch.no_grad():
            reference_vertices, reference_landmarks = self._posed.displacements(reference)
        wanted = landmarks[present]
        inside = ((wanted > -LANDMARK_MARGIN) & (wanted < 1 + LANDMARK_MARGIN)).all(dim=-1)
        missed = functional.smooth_l1_loss(100 * output.landmarks[:count][present], 100 * wanted, reduction="none").sum(dim=-1)
        gaps = (landmarks_3d - reference_landmarks)[:, self._upper] - (landmarks_3d - reference_landmarks)[:, self._lower]
        misses = output.landmarks[:count][present] - wanted
        gaps_2d = 100 * (misses[:, self._upper] - misses[:, self._lower])
        return {
            "code": functional.smooth_l1_loss(self.module.standardise(predicted), self.module.standardise(reference)),
            "vertices": (vertices - reference_vertices).norm(dim=-1).mean(),
            "landmarks_3d": (landmarks_3d - reference_landmarks).norm(dim=-1).mean(),
            "landmarks_2d": (missed * inside).sum() / inside.sum().clamp(min=1),
            "heatmaps": (heatmap_loss(output.heatmaps[:count][present], wanted) * inside).sum() / inside.sum().clamp(min=1),
            "openings": gaps.norm(dim=-1).mean() + functional.smooth_l1_loss(gaps_2d, torch.zeros_like(gaps_2d)),
        }

    def _train_openings(self) -> Float[np.ndarray, "N 3"]:
        """How far each lid and the mouth are open on the mean head, mm, in every render."""
        gaps = []
        for start in range(0, len(self._train.codes), 1024):
            with torch.no_grad():
                landmarks = self._posed.displacements(torch.from_numpy(self._train.codes[start:start + 1024]).to(self._device))[1]
            gaps.append((landmarks[:, self._upper, 1] - landmarks[:, self._lower, 1]).cpu().numpy())
        return np.concatenate(gaps).reshape(-1, 3, len(OPENINGS) // 3).mean(axis=2)

    def _rows(self, step: int) -> Int[np.ndarray, " B"]:
        """Renders in random order, as often as their shares say; equal shares draw each once before any twice. This process's share of them."""
        count = len(self._shares)
        places = (step - 1) * self._batch_size + np.array(self._share)
        turns = range(int(places[0]) // count, int(places[-1]) // count + 1)
        self._orders = {turn: self._orders[turn] if turn in self._orders else self._order(turn) for turn in turns}
        return np.array([self._orders[place // count][place % count] for place in places.tolist()])

    def _order(self, turn: int) -> Int[np.ndarray, " N"]:
        count, rng = len(self._shares), np.random.default_rng([self._seed, ORDERS, turn])
        places = (rng.random() + np.arange(count)) / count  # systematic sampling: each row floor(share) or ceil(share) times
        return rng.permutation(np.minimum(np.searchsorted(np.cumsum(self._shares) / count, places, side="right"), count - 1))

    def _landmark_loss(self, predicted: Tensor, wanted: Tensor) -> Tensor:
        """Hundredths of the crop's side, over landmarks that are given and not far outside, and over the openings of lids and mouth between them."""
        given = torch.isfinite(wanted).all(dim=-1)
        wanted = wanted.nan_to_num()
        seen = given & ((wanted > -LANDMARK_MARGIN) & (wanted < 1 + LANDMARK_MARGIN)).all(dim=-1)
        misses = 100 * (predicted - wanted)
        points = functional.smooth_l1_loss(misses, torch.zeros_like(misses), reduction="none").sum(dim=-1)
        pairs = seen[:, self._upper] & seen[:, self._lower]
        gaps = misses[:, self._upper] - misses[:, self._lower]
        openings = functional.smooth_l1_loss(gaps, torch.zeros_like(gaps), reduction="none").mean(dim=-1)
        return (points * seen).sum() / seen.sum().clamp(min=1) + (openings * pairs).sum() / pairs.sum().clamp(min=1)

    def _draw_real(self, step: int) -> tuple[UInt8[np.ndarray, "n S S 3"], Float[np.ndarray, "n L 2"]]:
        """Photographs get the renders' motion, light, blur, noise and JPEG too, so that these do not tell them apart."""
        ranges = self._augmentation.ranges
        rngs = [np.random.default_rng([self._seed, PHOTOGRAPHS, step, place]) for place in self._real_rows]
        rows = np.array([rng.integers(len(self._real.images)) for rng in rngs])
        crops, places = jittered_crops(self._real, rows, rngs, image_size=self._augmentation.image_size, crop_scale=self._augmentation.crop_scale,
                                       ranges=ranges)
        return np.stack([degrade(relight(crop, ranges.tone, rng=rng), ranges.blur_share, ranges.noise, ranges.jpeg_share, self._noise, rng=rng)
                         for crop, rng in zip(crops, rngs, strict=True)]), places

    def validate(self) -> dict[str, float]:
        """On plain crops of held-out people: standardised code error, mm at moving vertices, 2D landmarks in % of the crop's side."""
        code, vertices, landmarks = [], [], []
        for start in range(0, len(self._held_out.images), VALIDATION_BATCH):
            rows = slice(start, start + VALIDATION_BATCH)
            with torch.no_grad():
                output = self.module(images_to_network(self._held_out.images[rows], self._device))
                reference = self._held_out_codes[rows].to(self._device)
                code.append((self.module.standardise(output.codes) - self.module.standardise(reference)).abs().mean(dim=1))
                predicted_vertices, true_vertices = (self._posed.displacements(one)[0] for one in (output.codes, reference))
                vertices.append((predicted_vertices - true_vertices).norm(dim=-1).mean(dim=1))
                wanted = torch.from_numpy(self._held_out.landmarks[rows]).to(self._device)
                landmarks.append(100 * (output.landmarks - wanted).norm(dim=-1).mean(dim=1))
        return {"code": float(torch.cat(code).mean()), "vertices_mm": float(torch.cat(vertices).mean()), "landmarks_pct": float(torch.cat(landmarks).mean())}


def train_capture(
    train_folders: Sequence[Path] | LabelledRenders,
    validation_folders: Sequence[Path] | LabelledRenders,
    semantic: SemanticModel,
    *,
    real: RealFaces | None,
    backgrounds: Sequence[np.ndarray],
    encoder: str,
    image_size: int,
    local_width: int,
    hidden_width: int,
    augmentation: AugmentationRanges,
    loss_weights: Mapping[str, float],
    real_share: float,
    balance: float,
    batch_size: int,
    steps: int,
    learning_rate: float,
    weight_decay: float,
    warmup_share: float,
    gradient_clip: float,
    mixed_precision: bool,
    log_every: int,
    validate_every: int,
    settings: CaptureSettings,
    seed: int,
    device: torch.device,
    ahead: int = 0,
    group: Group = ALONE,
    checkpoint: Path | None = None,
    on_metrics: Callable[[dict[str, float], int], None] | None = None,
) -> tuple[CaptureModel, list[dict[str, float]]]:
    """The trained model and its curve. The same seed and device give the same model.

    `balance` (see `sampling_shares`) evens out how often lids and mouth are open or shut.
    `real` faces switch the domain-adversarial loss on, and their landmarks a loss on them; `real_share` is their number over that of the renders in a batch.
    `mixed_precision` computes in bfloat16 where the device has it: about 1.6 times as fast on a processor with AVX-512 BF16.
    `ahead` threads draw the coming batches, which changes no number. `group` shares each batch among processes, which changes the last digits and
    what batch normalisation sees. `checkpoint` is the file that keeps the training, to go on from where it was interrupted.
    """
    train, validation = (one if isinstance(one, LabelledRenders) else LabelledRenders.read(one) for one in (train_folders, validation_folders))
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    landmark_ids = semantic.topology.landmark_ids
    network = CaptureNetwork(encoder=encoder, image_size=image_size, code_size=semantic.code_size, landmark_count=len(landmark_ids),
                             local_width=local_width, hidden_width=hidden_width).to(device, memory_format=torch.channels_last)
    draw = RenderAugmentation(augmentation, image_size=image_size, crop_scale=settings.tracking.crop_scale, landmark_ids=landmark_ids,
                              backgrounds=backgrounds, rng=rng, mirror=mirrored_landmarks(semantic.topology))
    task = CaptureTask(network, semantic, train, validation, augmentation=draw, weights=loss_weights, batch_size=batch_size, real=real,
                       real_share=real_share, balance=balance, mixed_precision=mixed_precision, device=device, rng=rng, seed=seed, ahead=ahead, group=group)
    schedule = {"steps": steps, "learning_rate": learning_rate, "weight_decay": weight_decay, "warmup_share": warmup_share, "gradient_clip": gradient_clip,
                "log_every": log_every, "validate_every": validate_every}
    kept = None
    if checkpoint is not None:
        decisive = {**schedule, "augmentation": asdict(augmentation), "weights": dict(loss_weights), "real_share": real_share, "balance": balance,
                    "batch_size": batch_size, "mixed_precision": mixed_precision, "seed": seed, "device": device.type, "processes": group.count}
        faces = () if real is None else (real.images, real.landmarks)
        kept = Checkpoint(checkpoint, training_key(decisive, train.layers, train.landmarks, train.codes, validation.codes, *faces, *backgrounds,
                                                   *semantic.state_dict().values(), *network.state_dict().values()))
    with closing(task):
        curve = fit(task, **schedule, on_metrics=on_metrics, label="capture", group=group, checkpoint=kept)
    return CaptureModel(network, semantic, landmark_ids, settings), curve
