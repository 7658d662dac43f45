"""The capture network: image encoder E_img, expression head H_exp, landmark head H_lmks, domain classifier C_d and a presence head."""
from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

FAINTEST = 0.02  # of sRGB values in 0..1: the contrast below which a crop is left as faint as it is
HEATMAP_MARGIN = 0.125  # share of the crop's side by which landmarks may lie outside of the crop
SHAPE_EPSILON = 1e-4  # of the crop's side; keeps the landmark shape finite while all landmarks still coincide


@dataclass(frozen=True)
class EncoderShape:
    """Channels and residual blocks of the stages, which run at 1/4, 1/8, 1/16 and 1/32 of the image's side."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    map_width: int  # channels of the fine map at 1/4


ENCODERS = {
    "residual_tiny": EncoderShape(widths=(8, 12, 16), depths=(1, 1, 1), map_width=12),  # for tests
    "residual_small": EncoderShape(widths=(32, 64, 128, 160), depths=(2, 2, 2, 1), map_width=48),
    "residual_large": EncoderShape(widths=(48, 96, 192, 256), depths=(2, 2, 2, 2), map_width=96),
}


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs))


def _full(values: Tensor) -> Tensor:
    """At least single precision: what leaves mixed precision."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def even_exposure(images: Tensor) -> Tensor:
    """Each channel of each picture with mean 0 and spread 1: what light, exposure and white balance did to it as a whole need not be learnt."""
    centred = images - images.mean(dim=(2, 3), keepdim=True)
    return centred / (centred.square().mean(dim=(2, 3), keepdim=True) + FAINTEST**2).sqrt()


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut (He et al. 2016), the shortcut averaged where the block halves the resolution."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.first = _convolution(inputs, outputs, 3, stride)
        self.second = _convolution(outputs, outputs, 3)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(nn.AvgPool2d(stride, ceil_mode=True), _convolution(inputs, outputs, 1))

    def forward(self, features: Tensor) -> Tensor:
        hidden = functional.relu(self.first(features), inplace=True)
        return functional.relu(self.second(hidden) + self.shortcut(features), inplace=True)


class ImageEncoder(nn.Module):
    """E_img: images (B, 3, S, S) in 0..1 to a fine map (B, C, S/4, S/4) that keeps lids and lips apart, and a deep map of the whole face.

    The fine map sums all stages, each brought to one width by a 1 x 1 convolution and to the finest grid by interpolation.
    """

    def __init__(self, name: str):
        super().__init__()
        if name not in ENCODERS:
            raise ValueError(f"unknown image encoder {name!r}; use one of {', '.join(ENCODERS)} (params: capture.encoder)")
        shape = ENCODERS[name]
        first = shape.widths[0]
        self.stem = nn.Sequential(_convolution(3, first // 2, 3, 2), nn.ReLU(inplace=True), _convolution(first // 2, first, 3, 2), nn.ReLU(inplace=True))
        self.stages = nn.ModuleList()
        inputs = first
        for number, (width, depth) in enumerate(zip(shape.widths, shape.depths, strict=True)):
            blocks = [ResidualBlock(inputs if k == 0 else width, width, 2 if k == 0 and number > 0 else 1) for k in range(depth)]
            self.stages.append(nn.Sequential(*blocks))
            inputs = width
        self.laterals = nn.ModuleList(_convolution(width, shape.map_width, 1) for width in shape.widths)
        self.map_width, self.deep_width, self.strides = shape.map_width, inputs, 4 * 2 ** (len(shape.widths) - 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.stem(even_exposure(images))
        fine = None
        for stage, lateral in zip(self.stages, self.laterals, strict=True):
            features = stage(features)
            level = lateral(features)
            fine = level if fine is None else fine + functional.interpolate(level, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        return functional.relu(fine, inplace=True), features


class LandmarkHead(nn.Module):
    """H_lmks: one heat map per landmark; the landmark is the mean position under its softmax (spatial soft-argmax), so it moves by parts of a cell."""

    def __init__(self, map_width: int, landmark_count: int):
        super().__init__()
        self.heatmaps = nn.Conv2d(map_width, landmark_count, 1)

    def forward(self, fine: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Landmarks (B, L, 2) as shares of the crop's side, the attention (B, L, cells) that made them, and its logits (B, L, H, W)."""
        logits = _full(self.heatmaps(fine))
        height, width = logits.shape[-2:]
        attention = logits.flatten(2).softmax(dim=-1)
        rows = (torch.arange(height, device=logits.device, dtype=attention.dtype) + 0.5) / height
        columns = (torch.arange(width, device=logits.device, dtype=attention.dtype) + 0.5) / width
        cells = torch.stack([columns.repeat(height), rows.repeat_interleave(width)], dim=-1)
        positions = attention @ cells
        return 0.5 + (positions - 0.5) * (1 + 2 * HEATMAP_MARGIN), attention, logits


def heatmap_loss(heatmaps: Tensor, places: Tensor) -> Tensor:
    """(B, L) cross entropy between heat maps (B, L, H, W) and true places (B, L, 2; shares of the crop's side), shared among the four cells around each.

    Positions alone teach slowly: any map with the right mean will do. Places outside of the map count at its edge.
    """
    height, width = heatmaps.shape[-2:]
    cells = (0.5 + (places - 0.5) / (1 + 2 * HEATMAP_MARGIN)) * places.new_tensor([width, height]) - 0.5
    cells = torch.minimum(cells.clamp(min=0), places.new_tensor([width - 1, height - 1]))
    corner = torch.minimum(cells.floor(), places.new_tensor([width - 2, height - 2]))
    along = cells - corner
    first = (corner[..., 1] * width + corner[..., 0]).long()
    x, y = along.unbind(-1)
    logits = heatmaps.flatten(2)
    at = logits.gather(2, torch.stack([first, first + 1, first + width, first + width + 1], dim=-1))
    shares = torch.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y], dim=-1)
    return logits.logsumexp(dim=-1) - (at * shares).sum(dim=-1)


class ExpressionHead(nn.Module):
    """H_exp: the code from what the fine map shows at each landmark, from the landmarks' own shape, and from the deep map."""

    def __init__(self, map_width: int, deep_width: int, deep_cells: int, landmark_count: int, code_size: int, *, local_width: int, hidden_width: int):
        super().__init__()
        self.local = nn.Conv2d(map_width, local_width, 1)
        self.deep = nn.Sequential(_convolution(deep_width, 2 * local_width, 1), nn.ReLU(inplace=True))
        inputs = landmark_count * (local_width + 2) + 2 * local_width * deep_cells
        self.layers = nn.Sequential(nn.Linear(inputs, hidden_width), nn.BatchNorm1d(hidden_width), nn.ReLU(inplace=True), nn.Linear(hidden_width, code_size))

    def forward(self, fine: Tensor, deep: Tensor, landmarks: Tensor, attention: Tensor) -> Tensor:
        local = torch.bmm(attention, _full(self.local(fine)).flatten(2).transpose(1, 2))
        centred = landmarks - landmarks.mean(dim=1, keepdim=True)
        shape = centred / (centred.square().mean(dim=(1, 2), keepdim=True).sqrt() + SHAPE_EPSILON)
        return self.layers(torch.cat([local.flatten(1), shape.flatten(1), self.deep(deep).flatten(1)], dim=1))


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(context: torch.autograd.function.FunctionCtx, values: Tensor, strength: float) -> Tensor:
        context.strength = strength
        return values.view_as(values)

    @staticmethod
    def backward(context: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        return -context.strength * gradient, None


def gradient_reversal(values: Tensor, strength: float) -> Tensor:
    """Forward the identity, backward -strength times the gradient (Ganin & Lempitsky 2015)."""
    return _Reversal.apply(values, strength)


def reversal_strength(progress: float) -> float:
    """lambda(p) = 2 / (1 + exp(-10 p)) - 1 for the share p of training done: 0 at the start, so that features form before they are aligned; then near 1."""
    return 2.0 / (1.0 + math.exp(-10.0 * progress)) - 1.0


class DomainClassifier(nn.Module):
    """C_d: logit (B,) that the picture is real; its gradient reaches the encoder reversed."""

    def __init__(self, inputs: int, hidden_width: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, hidden_width), nn.ReLU(inplace=True), nn.Linear(hidden_width, 1))

    def forward(self, features: Tensor, strength: float) -> Tensor:
        return self.layers(gradient_reversal(features, strength)).squeeze(1)


@dataclass(frozen=True)
class CaptureOutput:
    """What the network says of a batch of crops."""

    codes: Tensor
    """(B, Z) expression codes, in the semantic model's units."""
    landmarks: Tensor
    """(B, L, 2) shares of the crop's side, origin at its top-left corner."""
    presence: Tensor
    """(B,) logit that the crop shows a whole face."""
    features: Tensor
    """(B, C) the deep map's mean, which the domain classifier reads."""
    heatmaps: Tensor | None = None
    """(B, L, H, W) logits of where each landmark is, which training needs; None from stand-ins that draw no maps."""


class CaptureNetwork(nn.Module):
    """All heads on one encoder. Codes leave in the semantic model's units: the network works with standardised ones (buffers `code_mean`, `code_spread`)."""

    def __init__(self, *, encoder: str, image_size: int, code_size: int, landmark_count: int, local_width: int, hidden_width: int):
        super().__init__()
        self.settings = {"encoder": encoder, "image_size": image_size, "code_size": code_size, "landmark_count": landmark_count,
                         "local_width": local_width, "hidden_width": hidden_width}
        self.encoder = ImageEncoder(encoder)
        if image_size % 4 or image_size < self.encoder.strides:
            raise ValueError(f"image_size must be a multiple of 4 and at least {self.encoder.strides} for {encoder}, got {image_size} "
                             "(params: capture.image_size)")
        deep_cells = math.ceil(image_size / self.encoder.strides) ** 2
        self.landmark_head = LandmarkHead(self.encoder.map_width, landmark_count)
        self.expression_head = ExpressionHead(self.encoder.map_width, self.encoder.deep_width, deep_cells, landmark_count, code_size,
                                              local_width=local_width, hidden_width=hidden_width)
        self.presence_head = nn.Linear(self.encoder.deep_width, 1)
        self.domain_classifier = DomainClassifier(self.encoder.deep_width, hidden_width // 2)
        self.register_buffer("code_mean", torch.zeros(code_size))
        self.register_buffer("code_spread", torch.ones(code_size))

    @property
    def image_size(self) -> int:
        return self.settings["image_size"]

    def standardise(self, codes: Tensor) -> Tensor:
        return (codes - self.code_mean) / self.code_spread

    def forward(self, images: Tensor) -> CaptureOutput:
        """`images` (B, 3, S, S) sRGB in 0..1."""
        fine, deep = self.encoder(images)
        landmarks, attention, heatmaps = self.landmark_head(fine)
        standardised = _full(self.expression_head(fine, deep, landmarks, attention))
        features = _full(deep).mean(dim=(2, 3))
        return CaptureOutput(standardised * self.code_spread + self.code_mean, landmarks, self.presence_head(features).squeeze(1), features, heatmaps)
