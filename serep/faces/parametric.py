"""Heads made of a mean, identity modes and expression units: random people whose own expressions are made from those of the mean."""
from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from serep.faces.cloning import ExpressionCloning
from serep.faces.expression_units import draw_weights
from serep.faces.head_model import SPLITS, Subject, SubjectPlan
from serep.faces.populations import EVERYBODY, Population, check_populations, mixed
from serep.faces.topology import FIXED_COUNT, FaceTopology
from serep.geometry.deformation import PoissonSolver, deformation_transfer

SHARED_LIST = 2**32 - 1  # stands where a person's number stands: the stream of a split's common list of expressions
ORIGIN_SPREAD = 0.6  # of the Dirichlet distribution of mixed origins: most people are mainly of one


@dataclass(frozen=True, eq=False)
class SculptedUnits:
    """Expression units that artists made for each of a few origins (populations): displacements in mm for weight 1."""

    origins: tuple[str, ...]
    units: Float[np.ndarray, "P E V 3"]


class ParametricHeadModel(ABC):
    """A HeadModel of template + identity modes + expression units; a source fills in the arrays.

    The units' own vectors do not depend on the person. What a person's true expression is, `expression_transfer` says:
    `deformation`: the template's, carried over by deformation transfer (Sumner and Popović 2004), which adapts to the person's proportions;
    `cloning`: each vertex's displacement turned and scaled as the person's surface is there (Noh and Neumann 2001);
    `sculpted`: the source's own units for each origin, mixed as the person's origins are.
    """

    name: str
    licence: str
    provenance: str
    shares_frame = True

    def __init__(
        self,
        topology: FaceTopology,
        identity_modes: Float[np.ndarray, "K V 3"],
        expression_units: Float[np.ndarray, "E V 3"],
        expression_names: tuple[str, ...],
        *,
        groups: Mapping[str, Population] | None = None,
        sculpted: SculptedUnits | None = None,
        train_population: str = EVERYBODY,
        test_population: str = EVERYBODY,
        expression_transfer: str = "deformation",
    ) -> None:
        """`identity_modes` are displacements in mm for one standard deviation, `expression_units` for weight 1 (`sculpted`: of even origins).

        `groups` are the populations beside everybody. Train and validation people, and those of `draw_neutral`, are drawn from
        `train_population`. ValueError naming the choices where a population or a transfer is none of the source's.
        """
        transfers = ("deformation", "cloning", *(("sculpted",) if sculpted else ()))
        if expression_transfer not in transfers:
            raise ValueError(f"expression_transfer is {expression_transfer!r}, but the heads of {self.name} offer only {', '.join(transfers)}")
        self.topology = topology
        self.identity_modes = identity_modes
        self.expression_units = expression_units
        self.expression_names = expression_names
        self.expression_transfer = expression_transfer
        self._groups = dict(groups or {})
        self._sculpted = sculpted if expression_transfer == "sculpted" else None
        self._cloning = ExpressionCloning(topology.template, topology.faces) if expression_transfer == "cloning" else None
        # Whoever is drawn with sculpted expressions needs known origins.
        self.populations = (EVERYBODY, *(self._sculpted.origins if self._sculpted else self._groups))
        self._population_of = {"train": train_population, "val": train_population, "test": test_population}
        check_populations(self.name, self.populations, {"train_population": train_population, "test_population": test_population})

    def draw_neutral(self, *, rng: np.random.Generator) -> Float[np.ndarray, "V 3"]:
        """A random person of the training population; of everybody, each identity mode is drawn from N(0, 1)."""
        return self.draw_person(self._population_of["train"], rng=rng)[0]

    def draw_person(self, population: str, *, rng: np.random.Generator) -> tuple[Float[np.ndarray, "V 3"], Float[np.ndarray, " P"] | None]:
        """A random person's neutral and, where expressions depend on them, the shares of their origins."""
        if self._sculpted:
            origins = self._sculpted.origins
            if population == EVERYBODY:
                shares = rng.dirichlet([ORIGIN_SPREAD] * len(origins))
            else:
                shares = np.array([float(name == population) for name in origins])
            return self.neutral(mixed([self._groups[name] for name in origins], shares).draw(rng=rng)), shares
        if population == EVERYBODY:
            return self.neutral(rng.standard_normal(len(self.identity_modes))), None
        return self.neutral(self._groups[population].draw(rng=rng)), None

    def neutral(self, identity: Float[np.ndarray, " K"]) -> Float[np.ndarray, "V 3"]:
        """The person with these identity weights, in standard deviations."""
        return self.topology.template + np.tensordot(identity, self.identity_modes, axes=1).astype(np.float64)

    def expressive(
        self, neutral: Float[np.ndarray, "V 3"], weights: Float[np.ndarray, "n E"], *, origins: Float[np.ndarray, " P"] | None = None
    ) -> Float[np.ndarray, "n V 3"]:
        """Expressions of one person. `origins` are the shares of the person's origins in sculpted expressions; None: even shares."""
        units = self.expression_units if origins is None or not self._sculpted else np.tensordot(origins, self._sculpted.units, axes=1)
        displacements = np.tensordot(weights, units, axes=1).astype(np.float64)
        if self._sculpted:
            return neutral + displacements
        if self._cloning:
            return neutral + self._cloning.carry(displacements, neutral)
        template = self.topology.template
        return deformation_transfer(template, template + displacements, PoissonSolver(self.topology.mesh(neutral), fixed=self.topology.fixed))

    def draw_weights(self, count: int, plan: SubjectPlan, *, with_held_out: bool = False, rng: np.random.Generator) -> Float[np.ndarray, "n E"]:
        """Weights of `count` random expressions; see `serep.faces.expression_units.draw_weights`."""
        return draw_weights(self.expression_names, count, plan, with_held_out=with_held_out, rng=rng)

    def subjects(self, plan: SubjectPlan, *, seed: int) -> Iterator[Subject]:
        """See HeadModel. Each person has a random stream of their own, so the numbers of one split never change another split's people."""
        shared = {}
        for number, split in enumerate(SPLITS):
            if split != "train":
                count, rng = {"val": plan.val_expressions, "test": plan.test_expressions}[split], np.random.default_rng([seed, number, SHARED_LIST])
                shared[split] = self.draw_weights(count, plan, with_held_out=split == "test" and bool(plan.held_out_units), rng=rng)
        for number, split in enumerate(SPLITS):
            for index in range(plan.people(split)):
                rng = np.random.default_rng([seed, number, index])
                neutral, origins = self.draw_person(self._population_of[split], rng=rng)
                weights = shared[split] if split in shared else self.draw_weights(plan.expressions_per_person, plan, rng=rng)
                person = f"{split}-{index:04d}"
                yield Subject(
                    subject_id=person, split=split, neutral=neutral.astype(np.float32), weights=weights.astype(np.float32),
                    expression_ids=tuple(f"{split if split in shared else person}-{k:03d}" for k in range(len(weights))),
                    expressive=self.expressive(neutral, weights, origins=origins).astype(np.float32), origin=self.name,
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
