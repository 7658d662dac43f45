"""What every source of heads offers (HeadModel), and the people it is asked for (SubjectPlan, Subject)."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from serep.faces.topology import FaceTopology

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Subject:
    """One person: the neutral and the expressions, in mm, without head motion.

    `weights` are the expression units' weights behind each expression; scans have none, shape (n, 0). `problems` lists files that were
    left out with the reason; a subject whose neutral is missing comes with a neutral of zero vertices and says so there.
    """

    subject_id: str
    split: str
    neutral: Float[np.ndarray, "V 3"]
    expression_ids: tuple[str, ...]
    weights: Float[np.ndarray, "n E"]
    expressive: Float[np.ndarray, "n V 3"]
    source_files: tuple[str, ...] = ()
    origin: str = ""
    problems: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class SubjectPlan:
    """How many people and expressions, and how expressions are drawn.

    Train people each perform their own random expressions (unpaired). Test people all perform one unseen list, validation people another
    list of half the length (at least 1), so that retargeting between them has a truth. Sources of scans read only the numbers of people.

    `held_out_units` (names without a side) are never performed by train and validation people; each expression of the test people then
    contains at least one of them. `blink_share` is the share of expressions in which both eyes shut.
    """

    train_people: int
    val_people: int
    test_people: int
    expressions_per_person: int
    test_expressions: int
    units_min: int
    units_max: int
    weight_min: float
    weight_max: float
    symmetric_share: float
    held_out_units: tuple[str, ...] = ()
    blink_share: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.units_min <= self.units_max or not 0 <= self.weight_min <= self.weight_max <= 1 or not 0 <= self.symmetric_share <= 1:
            raise ValueError(f"need 1 ≤ units_min ≤ units_max, 0 ≤ weight_min ≤ weight_max ≤ 1 and symmetric_share in 0..1, got {self}")
        if not 0 <= self.blink_share <= 1:
            raise ValueError(f"blink_share must be in 0..1, got {self.blink_share}")

    def people(self, split: str) -> int:
        return {"train": self.train_people, "val": self.val_people, "test": self.test_people}[split]

    @property
    def val_expressions(self) -> int:
        return max(1, self.test_expressions // 2)


@runtime_checkable
class HeadModel(Protocol):
    """A source of heads. Everything downstream sees a source only through this.

    `populations` are the names that people can be drawn from; every source has "all". `shares_frame` tells that the neutrals stand in one
    frame already, so that aligning them would only add noise.
    """

    name: str
    topology: FaceTopology
    expression_names: tuple[str, ...]
    licence: str
    provenance: str
    populations: tuple[str, ...]
    shares_frame: bool

    def draw_neutral(self, *, rng: np.random.Generator) -> Float[np.ndarray, "V 3"]:
        """A random person's neutral in mm."""

    def subjects(self, plan: SubjectPlan, *, seed: int) -> Iterator[Subject]:
        """The plan's people, train first, then validation, then test; always the same for the same seed."""
