"""Which expression is on a training image: the training people's codes, and codes mixed from them, so that faint, strong and lopsided ones occur too."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32, Int, Int32

from serep.data.heads import HeadSet
from serep.data.part_spec import Recipe
from serep.faces.topology import FaceTopology

RECIPES = ("training", "faint", "interpolated", "summed", "halves", "extrapolated")
SEAM = 15.0  # mm on either side of the middle of the face within which one half passes into the other
SEAM_DIFFERENCE = 8.0  # mm by which two expressions may differ there: halves with an open and a shut jaw tear the mouth
LONGEST = 99  # percentile of the training codes' lengths that bounds the mixed ones: a single odd mesh must not
HALVES_STREAM = 3  # the fourth number of these random streams; serep.synthesis.scenes has the others
SUM_MIN = 0.5  # each expression of a sum has a share from here to 1


@dataclass(frozen=True)
class CodeMix:
    """How often each kind of code is drawn (shares, together 1), and how far mixed codes may go."""

    training: float
    """As the training people have it."""
    faint: float
    """On the way from a training code to the neutral's: most frames of real people are."""
    interpolated: float
    """On the way to another training code."""
    summed: float
    """Two at once."""
    halves: float
    """The left half of one and the right half of another expression of the same person that agree in the middle, joined as meshes and encoded."""
    extrapolated: float
    """Beyond a training code."""
    halves_per_person: int
    extrapolation_max: float
    """How many times a training code."""
    reach: float
    """Longest mixed code, over the longest training codes; a longer one is shortened."""

    def __post_init__(self) -> None:
        shares = self.shares
        if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            given = ", ".join(f"{name} {share:g}" for name, share in zip(RECIPES, shares, strict=True))
            raise ValueError(f"the shares of the kinds of codes must not be negative and must sum to 1, got {given} (sum {sum(shares):g})")
        if self.extrapolation_max < 1 or self.reach < 1 or self.halves_per_person < 0:
            raise ValueError(f"extrapolation_max and reach must be at least 1 and halves_per_person at least 0, got {self.extrapolation_max:g}, "
                             f"{self.reach:g} and {self.halves_per_person}")

    @property
    def shares(self) -> tuple[float, ...]:
        return tuple(getattr(self, name) for name in RECIPES)


@dataclass(frozen=True, eq=False)
class CodeTable:
    """Expression codes of the training people, as the semantic model encodes them. Rows are those of the expressive heads."""

    codes: Float32[np.ndarray, "M Z"]
    rows: Int32[np.ndarray, " M"]
    expression_ids: tuple[str, ...]
    half_codes: Float32[np.ndarray, "Q Z"]
    half_pairs: Int32[np.ndarray, "Q 2"]
    """Places in `codes` of what is on the left and on the right."""

    @cached_property
    def scale(self) -> Float[np.ndarray, " Z"]:
        return np.sqrt((self.codes.astype(np.float64) ** 2).mean(axis=0)) + 1e-12

    @cached_property
    def longest(self) -> float:
        return float(np.percentile(self.lengths(self.codes), LONGEST))

    def lengths(self, codes: Float[np.ndarray, "n Z"]) -> Float[np.ndarray, " n"]:
        """Root mean square over the code's numbers, each in units of its own size among the training codes; 0 is the neutral."""
        return np.sqrt(((codes / self.scale) ** 2).mean(axis=-1))

    def to_arrays(self) -> dict[str, np.ndarray]:
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray]) -> CodeTable:
        return CodeTable(**(dict(arrays) | {"expression_ids": tuple(str(name) for name in arrays["expression_ids"])}))


def no_codes() -> CodeTable:
    """The table of parts that show true meshes."""
    return CodeTable(np.zeros((0, 0), np.float32), np.zeros(0, np.int32), (), np.zeros((0, 0), np.float32), np.zeros((0, 2), np.int32))


def draw_half_pairs(heads: HeadSet, people: list[int], *, per_person: int, seed: tuple[int, int]) -> Int[np.ndarray, "Q 2"]:
    """Rows of the expressive heads to join, left and right: up to `per_person` random pairs of each person's expressions that agree along the seam.

    `seed` is that of the plan, and the split's number.
    """
    topology, pairs = heads.topology, []
    seam = (np.abs(topology.template[:, 0]) < SEAM) & (topology.regions["face"] > 0)
    for person in people:
        rows = np.flatnonzero(heads.expression_subject == person)
        along = heads.expressive[rows][:, seam]
        difference = np.array([np.linalg.norm(along - one, axis=-1).max(axis=1) for one in along]).reshape(len(rows), len(rows))
        fitting = np.argwhere((difference <= SEAM_DIFFERENCE) & ~np.eye(len(rows), dtype=bool))
        rng = np.random.default_rng([*seed, 0, HALVES_STREAM, person])
        chosen = rng.choice(len(fitting), min(per_person, len(fitting)), replace=False) if len(fitting) else []
        pairs += [rows[fitting[number]] for number in chosen]
    return np.array(pairs, np.int64).reshape(-1, 2)


def join_halves(neutral: Float[np.ndarray, "V 3"], left: Float[np.ndarray, "n V 3"], right: Float[np.ndarray, "n V 3"],
                topology: FaceTopology) -> Float32[np.ndarray, "n V 3"]:
    """Meshes of one person (mm) with the subject's left half of one expression and the right half of another, smooth across the middle."""
    way = np.clip((topology.template[:, :1] + SEAM) / (2 * SEAM), 0, 1)
    share = way * way * (3 - 2 * way)
    return (neutral + share * (left - neutral) + (1 - share) * (right - neutral)).astype(np.float32)


def draw_code(table: CodeTable, *, mix: CodeMix, rng: np.random.Generator) -> tuple[Float32[np.ndarray, " Z"], Recipe, str]:
    """The code, how it came about, and a name for the index."""
    kind = RECIPES[int(rng.choice(len(RECIPES), p=np.array(mix.shares) / sum(mix.shares)))]
    if kind == "halves" and not len(table.half_codes):
        kind = "summed"
    first, second = (int(place) for place in rng.integers(len(table.codes), size=2))
    one, other = table.expression_ids[first], table.expression_ids[second]
    if kind == "training":
        return table.codes[first], Recipe(kind, (int(table.rows[first]),), (1.0,)), one
    if kind == "halves":
        number = int(rng.integers(len(table.half_codes)))
        first, second = (int(place) for place in table.half_pairs[number])
        shares, code, name = (1.0, 1.0), table.half_codes[number], f"{table.expression_ids[first]}|{table.expression_ids[second]}"
    else:
        if kind == "faint":
            shares, name = (rng.uniform(), 0.0), f"{one}~neutral"
        elif kind == "extrapolated":
            shares, name = (rng.uniform(1, mix.extrapolation_max), 0.0), f"{one}^"
        elif kind == "interpolated":
            way = rng.uniform()
            shares, name = (1 - way, way), f"{one}~{other}"
        else:
            shares, name = tuple(rng.uniform(SUM_MIN, 1, size=2)), f"{one}+{other}"
        code = shares[0] * table.codes[first] + shares[1] * table.codes[second]
    shortened = min(1.0, mix.reach * table.longest / max(float(table.lengths(code[None])[0]), 1e-12))
    used = [(int(table.rows[place]), float(share * shortened)) for place, share in zip((first, second), shares, strict=True) if share > 0]
    rows, amounts = zip(*used, strict=True) if used else ((int(table.rows[first]),), (0.0,))
    return (shortened * code).astype(np.float32), Recipe(kind, rows, amounts), name
