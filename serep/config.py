"""Typed, frozen view of params.yaml: every value and path, no default in code, unknown keys refused. Read only by entry points."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from serep.data.blobs import check_store_url
from serep.faces.head_model import SubjectPlan
from serep.models.capture import CaptureSettings
from serep.render.sampling import SceneRanges
from serep.synthesis.codes import CodeMix
from serep.training.augmentation import AugmentationRanges
from serep.training.gate import Bar
from serep.training.simulated_target import SimulatedCamera

PARAMS_FILE = "params.yaml"
Split = Literal["train", "val", "test"]


class Section(BaseModel):
    """A mapping of params.yaml: frozen, every key required, no other key allowed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def section_of(settings: type) -> Any:
    """The section whose keys are the fields of one of the library's settings classes; `build` turns the one into the other."""
    types = get_type_hints(settings)
    keys = {field.name: (section_of(types[field.name]) if is_dataclass(types[field.name]) else types[field.name], ...) for field in fields(settings)}
    return create_model(settings.__name__, __base__=Section, **keys)


def build(settings: type, section: BaseModel) -> Any:
    """The library's settings object with the section's values."""
    types = get_type_hints(settings)
    values = {name: getattr(section, name) for name in types if hasattr(section, name)}
    return settings(**{name: build(types[name], value) if isinstance(value, BaseModel) else value for name, value in values.items()})


class Paths(Section):
    """Where artifacts live, relative to the project's root."""

    heads: Path
    surfaces: Path
    semantic: Path
    semantic_scores: Path
    renders: Path
    capture: Path
    capture_scores: Path
    real_images: Path
    real_faces: Path
    benchmark: Path
    metrics: Path
    plots: Path
    report: Path
    checkpoints: Path

    def semantic_model(self, kind: str) -> Path:
        return self.semantic / kind

    def part(self, part: str) -> Path:
        return self.renders / part

    def metric(self, stage: str) -> Path:
        return self.metrics / f"{stage}.json"


class Heads(Section):
    source: Literal["makehuman", "ict", "folder"]
    path: Path
    unit: Literal["mm", "cm", "m"]
    up: str
    front: str
    seed: int
    train_people: int = Field(ge=2)
    val_people: int = Field(ge=1)
    test_people: int = Field(ge=2)
    expressions_per_person: int = Field(ge=1)
    test_expressions: int = Field(ge=1)
    units_min: int = Field(ge=1)
    units_max: int = Field(ge=1)
    weight_min: float = Field(ge=0, le=1)
    weight_max: float = Field(ge=0, le=1)
    symmetric_share: float = Field(ge=0, le=1)
    blink_share: float = Field(ge=0, le=1)
    held_out_units: tuple[str, ...]
    train_population: str
    test_population: str
    expression_transfer: Literal["deformation", "cloning", "sculpted"]

    @model_validator(mode="after")
    def _ordered(self) -> Heads:
        if self.units_min > self.units_max or self.weight_min > self.weight_max:
            raise ValueError("units_min and weight_min must not exceed units_max and weight_max")
        return self

    def plan(self) -> SubjectPlan:
        return build(SubjectPlan, self)

    def reader_options(self) -> dict[str, str | int]:
        """What the source's reader needs beside the path."""
        choices = {"train_population": self.train_population, "test_population": self.test_population, "expression_transfer": self.expression_transfer}
        if self.source != "folder":
            return choices
        return choices | {"unit": self.unit, "up": self.up, "front": self.front, "held_out": self.val_people + self.test_people}


class Preprocess(Section):
    max_quarantine_share: float = Field(ge=0, le=1)


SemanticKind = Literal["neural", "gradient_fit", "gradient_pca", "displacement_pca"]


class SemanticLosses(Section):
    reconstruction: float = Field(ge=0)
    cycle: float = Field(ge=0)
    code: float = Field(ge=0)
    identity: float = Field(ge=0)


class SemanticTraining(Section):
    seed: int
    basis_meshes: int = Field(ge=2)
    displacement_modes: int = Field(ge=0)
    fit_tolerance: float = Field(gt=0)
    identity_modes: int = Field(ge=1)
    width: int = Field(ge=1)
    residual_blocks: int = Field(ge=0)
    mix_share: float = Field(ge=0, le=1)
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    warmup_share: float = Field(ge=0, le=1)
    gradient_clip: float = Field(ge=0)
    log_every: int = Field(ge=1)
    validate_every: int = Field(ge=1)
    loss_weights: SemanticLosses


class SemanticScoring(Section):
    seed: int
    max_pairs: int = Field(ge=1)


class TopologyScoring(Section):
    seed: int
    people: int = Field(ge=0)


class Semantic(Section):
    kind: SemanticKind
    kinds: list[SemanticKind]
    code_size: int = Field(ge=1)
    gradient_modes: int = Field(ge=1)
    training: SemanticTraining
    scoring: SemanticScoring
    topology_scoring: TopologyScoring

    @model_validator(mode="after")
    def _kind_is_trained(self) -> Semantic:
        if self.kind not in self.kinds:
            raise ValueError(f"kind {self.kind!r} is not among kinds {self.kinds}")
        if self.gradient_modes < self.code_size:
            raise ValueError(f"gradient_modes ({self.gradient_modes}) must not be fewer than code_size ({self.code_size})")
        return self


class Part(Section):
    split: Split
    first_image: int = Field(ge=0)
    images: int = Field(ge=1)


class Render(Section):
    backend: Literal["pyrender", "numba"]
    fallback: Literal["numba"] | None
    seed: int
    size_px: int = Field(ge=32)
    images_per_shard: int = Field(ge=1)
    people_per_shard: int = Field(ge=1)
    codes: section_of(CodeMix)
    executor: Literal["processes", "dask"]
    dask_address: str | None
    store: str | None
    parts: dict[str, Part]
    ranges: section_of(SceneRanges)

    def parts_of(self, split: str) -> list[str]:
        return [name for name, part in self.parts.items() if part.split == split]

    @model_validator(mode="after")
    def _all_splits_once(self) -> Render:
        for split in ("train", "val", "test"):
            if not self.parts_of(split):
                raise ValueError(f"parts has none of the split {split!r}")
        return self

    @model_validator(mode="after")
    def _sound(self) -> Render:
        build(CodeMix, self.codes)
        if self.store is not None:
            check_store_url(self.store)
        return self


class Simulated(Section):
    backend: Literal["pyrender", "numba"]
    fallback: Literal["numba"] | None
    seed: int
    parts: dict[str, Part]
    ranges: dict[str, float]
    camera: section_of(SimulatedCamera)
    landmark_error: float | None = Field(ge=0)

    def parts_of(self, split: str) -> list[str]:
        return [name for name, part in self.parts.items() if part.split == split]

    def scene_ranges(self, rendered: BaseModel) -> SceneRanges:
        """Those of the other renders, where this section names no others."""
        return replace(build(SceneRanges, rendered), **self.ranges)

    @model_validator(mode="after")
    def _sound(self) -> Simulated:
        unknown = sorted(set(self.ranges) - {field.name for field in fields(SceneRanges)})
        if unknown:
            raise ValueError(f"ranges has keys that render.ranges has not: {', '.join(unknown)}")
        build(SimulatedCamera, self.camera)
        for split in ("train", "test"):
            if not self.parts_of(split):
                raise ValueError(f"parts has none of the split {split!r}")
        return self


class Intake(Section):
    finder: Literal["cascades"]
    size_px: int = Field(ge=64)
    cover: float = Field(gt=1)
    least_face_px: float = Field(ge=1)
    least_sharpness: float = Field(ge=0)
    alike_share: float = Field(ge=0, lt=0.5)
    seconds_between: float = Field(ge=0)
    frames_per_video: int = Field(ge=1)
    faces_per_picture: int = Field(ge=1)
    test_share: float = Field(ge=0, lt=1)


class CaptureLosses(Section):
    code: float = Field(ge=0)
    vertices: float = Field(ge=0)
    landmarks_3d: float = Field(ge=0)
    landmarks_2d: float = Field(ge=0)
    heatmaps: float = Field(ge=0)
    openings: float = Field(ge=0)
    presence: float = Field(ge=0)
    domain: float = Field(ge=0)
    real_landmarks: float = Field(ge=0)


class CaptureTraining(Section):
    encoder: str
    image_size: int = Field(ge=32)
    local_width: int
    hidden_width: int
    real_share: float = Field(gt=0)
    balance: float = Field(ge=0, le=1)
    batch_size: int = Field(ge=2)
    steps: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    warmup_share: float = Field(ge=0, le=1)
    gradient_clip: float = Field(ge=0)
    mixed_precision: bool
    log_every: int = Field(ge=1)
    validate_every: int = Field(ge=1)
    seed: int
    loss_weights: CaptureLosses


class CaptureScoring(Section):
    seed: int
    ridge: float = Field(gt=0)


class Capture(Section):
    training: CaptureTraining
    scoring: CaptureScoring
    augmentation: section_of(AugmentationRanges)
    settings: section_of(CaptureSettings)


class Benchmark(Section):
    people: int = Field(ge=1)
    expressions: int = Field(ge=1)
    frames_per_expression: int = Field(ge=4)
    size_px: int = Field(ge=64)
    field_of_view_deg: float = Field(gt=0, lt=120)
    fill: float = Field(gt=0, le=1)
    fps: float = Field(gt=0)
    resamples: int = Field(ge=1)
    seed: int


class GatedMetric(Section):
    metric: str
    better: Literal["lower", "higher"]
    margin: float = Field(ge=0, allow_inf_nan=False)
    bound: float | str | None


class Release(Section):
    """What a new model must reach to become champion; tried in this order, all must hold."""

    gate: dict[str, GatedMetric] = Field(min_length=1)

    def bars(self) -> dict[str, Bar]:
        return {name: build(Bar, metric) for name, metric in self.gate.items()}


class ParamsError(ValueError):
    """params.yaml does not fit the schema; the message names each key."""


def _explain(error: ValidationError, file: Path) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            lines.append(f"{key}: unknown key (got {problem['input']!r}); remove it or correct its spelling")
        elif problem["type"] == "missing":
            lines.append(f"{key}: missing; every key of the section must be given")
        elif isinstance(problem["input"], dict):  # of a whole section, which would hide the message and show what it must not
            lines.append(f"{key}: {problem['msg'].removeprefix('Value error, ')}")
        else:
            lines.append(f"{key}: {problem['msg']} (got {problem['input']!r})")
    return f"{file} does not fit the schema in serep/config.py:\n  " + "\n  ".join(lines)


class Params(Section):
    """The whole of params.yaml."""

    paths: Paths
    heads: Heads
    preprocess: Preprocess
    semantic: Semantic
    render: Render
    simulated: Simulated
    intake: Intake
    capture: Capture
    benchmark: Benchmark
    release: Release

    @model_validator(mode="after")
    def _parts_have_names_of_their_own(self) -> Params:
        both = sorted(set(self.render.parts) & set(self.simulated.parts))
        if both:
            raise ValueError(f"simulated.parts and render.parts share a folder, so no name may be in both: {', '.join(both)}")
        self.simulated.scene_ranges(self.render.ranges)
        return self


def load_params(root: Path | str, overrides: Mapping[str, Any] | None = None) -> Params:
    """params.yaml of the project at `root`, with other values under some dotted keys. Raises ParamsError naming every key that does not fit."""
    file = Path(root) / PARAMS_FILE
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing. Run this inside the project's folder")
    try:
        content = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise ParamsError(f"{file} is not YAML: {error}") from error
    for key, value in (overrides or {}).items():
        _override(content, key, value)
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise ParamsError(_explain(error, file)) from error


def _override(content: dict, key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        content = content.get(parent) if isinstance(content, dict) else None
    if not isinstance(content, dict) or last not in content:
        raise ParamsError(f"{key}: params.yaml has no such key; overrides change values that are there, such as heads.path")
    content[last] = value
