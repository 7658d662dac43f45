"""Heads made of a mean, identity modes and expression units: random people whose expressions are carried to them by deformation transfer."""
from __future__ import annotations

from abc import ABC
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int

from serep.faces.expression_units import draw_weights
from serep.faces.head_model import SPLITS, Subject, SubjectPlan
from serep.faces.topology import FIXED_COUNT, FaceTopology
from serep.geometry.deformation import PoissonSolver, deformation_transfer

SHARED_LIST = 2**32 - 1  # stands where a person's number stands: the stream of a split's common list of expressions


class ParametricHeadModel(ABC):
    """A HeadModel of template + identity modes + expression units; a source fills in the arrays.

    The units' own vectors do not depend on the person. A person's true expression is therefore the template's, carried over by
    deformation transfer (Sumner and Popović 2004), which adapts to the person's proportions.
    """

    name: str
    licence: str
    provenance: str

    def __init__(
        self,
        topology: FaceTopology,
        identity_modes: Float[np.ndarray, "K V 3"],
        expression_units: Float[np.ndarray, "E V 3"],
        expression_names: tuple[str, ...],
    ) -> None:
        """`identity_modes` are displacements in mm for one standard deviation, `expression_units` for weight 1."""
        self.topology = topology
        self.identity_modes = identity_modes
        self.expression_units = expression_units
        self.expression_names = expression_names

    def draw_neutral(self, *, rng: np.random.Generator) -> Float[np.ndarray, "V 3"]:
        """A random person: every identity mode drawn from N(0, 1)."""
        return self.neutral(rng.standard_normal(len(self.identity_modes)))

    def neutral(self, identity: Float[np.ndarray, " K"]) -> Float[np.ndarray, "V 3"]:
        """The person with these identity weights, in standard deviations."""
        return self.topology.template + np.tensordot(identity, self.identity_modes, axes=1).astype(np.float64)

    def expressive(self, neutral: Float[np.ndarray, "V 3"], weights: Float[np.ndarray, "n E"]) -> Float[np.ndarray, "n V 3"]:
        """Expressions of one person: the template's, carried to the neutral by deformation transfer."""
        template = self.topology.template
        on_template = template + np.tensordot(weights, self.expression_units, axes=1).astype(np.float64)
        solver = PoissonSolver(self.topology.mesh(neutral), fixed=self.topology.fixed)
        return deformation_transfer(template, on_template, solver)

    def draw_weights(self, count: int, plan: SubjectPlan, *, rng: np.random.Generator) -> Float[np.ndarray, "n E"]:
        """Weights of `count` random expressions."""
        return draw_weights(self.expression_names, count, plan, rng=rng)

    def subjects(self, plan: SubjectPlan, *, seed: int) -> Iterator[Subject]:
        """See HeadModel. Each person has a random stream of their own, so the numbers of one split never change another split's people."""
        for number, split in enumerate(SPLITS):
            lists = {"val": plan.val_expressions, "test": plan.test_expressions}
            shared = self.draw_weights(lists[split], plan, rng=np.random.default_rng([seed, number, SHARED_LIST])) if split in lists else None
            for index in range(plan.people(split)):
                rng = np.random.default_rng([seed, number, index])
                neutral = self.draw_neutral(rng=rng)
                weights = self.draw_weights(plan.expressions_per_person, plan, rng=rng) if shared is None else shared
                person = f"{split}-{index:04d}"
                yield Subject(
                    subject_id=person, split=split, neutral=neutral.astype(np.float32), weights=weights.astype(np.float32),
                    expression_ids=tuple(f"{person if shared is None else split}-{k:03d}" for k in range(len(weights))),
                    expressive=self.expressive(neutral, weights).astype(np.float32), origin=self.name,
                )


def least_moving(motion: Float[np.ndarray, " V"], candidates: Bool[np.ndarray, " V"], count: int = FIXED_COUNT) -> Int[np.ndarray, " n"]:
    """The candidates with the least motion (mm), ascending; evenly spread over the candidates where more than `count` hold equally still."""
    motion, order = motion.round(3), np.flatnonzero(candidates)
    limit = np.sort(motion[order])[min(count, len(order)) - 1]
    still, level = order[motion[order] < limit], order[motion[order] == limit]
    spread = level[np.linspace(0, len(level) - 1, min(count, len(order)) - len(still)).round().astype(int)]
    return np.sort(np.concatenate([still, spread])).astype(np.int32)


def motion_of(units: Float[np.ndarray, "E V 3"]) -> Float[np.ndarray, " V"]:
    """How far the units move each vertex, summed over the units, in mm."""
    return np.linalg.norm(units, axis=-1).sum(axis=0)
