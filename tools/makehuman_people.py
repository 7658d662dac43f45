"""Random adults from MakeHuman's body parameters, the principal modes of their heads, and Gaussians over these for groups of people."""
from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product

import numpy as np

from serep.geometry.rigid import apply_rigid, rigid_align

PEOPLE, MODES, SEED = 3000, 120, 20240901
GROUP_PEOPLE = 1500
HEAD_TARGETS = ("cheek", "chin", "ears", "eyebrows", "eyes", "forehead", "head", "mouth", "nose")
AGES = {"child": 1 / 3, "young": 2 / 3, "old": 1.0}  # children below 0.45 tear under strong mouth units
ADULTS, MIDDLE_AGE = (0.65, 1.0), 0.825
ORIGINS = ("african", "asian", "caucasian")
LOCAL_SIGMA = 0.2  # of MakeHuman's local changes, whose sliders go from -1 to 1
THREE = ("min", "average", "max")
GROUPS = {name: {"origin": name} for name in ORIGINS} | {
    "female": {"gender": 1.0}, "male": {"gender": 0.0}, "young": {"age": (ADULTS[0], MIDDLE_AGE)}, "old": {"age": (MIDDLE_AGE, ADULTS[1])},
}  # fmt: skip


def hat(values: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """(N, anchors) weights of linear interpolation between anchors."""
    return np.stack([np.interp(values, anchors, row) for row in np.eye(len(anchors))], axis=1)


def draw_people(targets, base: np.ndarray, shape_of, *, count: int, rng: np.random.Generator, age: tuple[float, float] = ADULTS,
                gender: float | None = None, origin: str | None = None) -> np.ndarray:
    """(count, V, 3) random adults: MakeHuman's body parameters (age 0.65 to 1) and local changes of the head (σ 0.2, the sides nearly alike).

    `base` is the base mesh's head, `shape_of` gives a target file's displacement (V, 3) of it. A range of ages, a gender (0 male, 1 female) and
    an origin may be given; the same stream then gives the same people but for that."""
    n = count
    genders = rng.beta(0.5, 0.5, n)
    gender = hat(genders if gender is None else np.full(n, gender), np.array([0.0, 1.0]))
    age = hat(rng.uniform(*age, n), np.array(list(AGES.values())))
    muscle, weight = (hat(rng.uniform(0.15, 0.85, n), np.array([0.0, 0.5, 1.0])) for _ in range(2))
    height, proportions = (hat(rng.uniform(0.3, 0.7, n), np.array([0.0, 1.0])) for _ in range(2))
    mixed = rng.dirichlet([0.6, 0.6, 0.6], n)
    origins = mixed if origin is None else np.tile([float(name == origin) for name in ORIGINS], (n, 1))
    coefficients, displacements = [], []

    def add(amount: np.ndarray, file) -> None:
        coefficients.append(amount)
        displacements.append(shape_of(file).ravel())

    macro = targets / "macrodetails"
    for (g, sex), (a, years) in product(enumerate(("male", "female")), enumerate(AGES)):
        for r, name in enumerate(ORIGINS):
            add(gender[:, g] * age[:, a] * origins[:, r], macro / f"{name}-{sex}-{years}.target.gz")
        for (m, tone), (w, mass) in product(enumerate(THREE), enumerate(THREE)):
            common = gender[:, g] * age[:, a] * muscle[:, m] * weight[:, w]
            name = f"{sex}-{years}-{tone}muscle-{mass}weight"
            add(common, macro / f"universal-{name}.target.gz")
            for h, tall in enumerate(("minheight", "maxheight")):
                add(common * height[:, h], macro / "height" / f"{name}-{tall}.target.gz")
            for p, ideal in enumerate(("idealproportions", "uncommonproportions")):
                add(common * proportions[:, p], macro / "proportions" / f"{name}-{ideal}.target.gz")
    for pair in local_changes(targets):
        shared = rng.normal(0, LOCAL_SIGMA, n)
        for folder, low, high in pair:
            amount = shared if len(pair) == 1 else np.sqrt(0.9) * shared + np.sqrt(0.1) * rng.normal(0, LOCAL_SIGMA, n)
            add(np.maximum(amount, 0), targets / folder / f"{high}.target.gz")
            add(np.maximum(-amount, 0), targets / folder / f"{low}.target.gz")
    return (base.ravel() + np.stack(coefficients, axis=1) @ np.stack(displacements)).reshape(n, -1, 3)


def local_changes(targets) -> Iterator[list[tuple[str, str, str]]]:
    """Each local change of the head as one (folder, negative file, positive file), or two where it has sides."""
    catalogue = json.loads((targets / "target.json").read_text())
    for folder in HEAD_TARGETS:
        for category in catalogue[folder]["categories"]:
            names = category.get("opposites", {})
            present = [side for side in ("left", "right", "unsided") if names.get(f"positive-{side}")]
            sides = [(folder, names[f"negative-{side}"], names[f"positive-{side}"]) for side in present]
            if sides:
                yield sides


def upright(people: np.ndarray, onto: np.ndarray, still: np.ndarray) -> np.ndarray:
    """People (N, V, 3) moved rigidly onto the head `onto` by the vertices `still`."""
    return apply_rigid(people, *rigid_align(people[:, still], np.broadcast_to(onto[still], (len(people), still.sum(), 3))))


def principal_modes(people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Modes (MODES, V, 3) scaled to one standard deviation, in mm, and their shares of the variance; the largest entry of each is positive."""
    centred = (people - people.mean(axis=0)).reshape(len(people), -1)
    values, vectors = np.linalg.eigh(centred @ centred.T / (len(people) - 1))
    chosen = np.argsort(values)[::-1][:MODES]
    modes = vectors[:, chosen].T @ centred / np.sqrt(len(people) - 1)  # = sigma * unit mode
    modes *= np.sign(modes[np.arange(MODES), np.abs(modes).argmax(axis=1)])[:, None]
    return modes.reshape(MODES, -1, 3), values[chosen] / values.sum()


def gaussians(draw, mean: np.ndarray, modes: np.ndarray) -> dict[str, np.ndarray]:
    """For each of GROUPS the mean (K,) and a square root (K, K) of the covariance of its people's weights of the modes, in standard deviations.

    `draw(**group)` draws a group's people. The roots are lower triangles with a positive diagonal, so groups that are alike have like roots."""
    directions = modes.reshape(len(modes), -1)
    directions = directions / (directions**2).sum(axis=1, keepdims=True)
    means, factors = [], []
    for group in GROUPS.values():
        weights = (draw(**group) - mean).reshape(-1, directions.shape[1]) @ directions.T
        upper = np.linalg.qr(weights - weights.mean(axis=0), mode="r") / np.sqrt(len(weights) - 1)
        means.append(weights.mean(axis=0))
        factors.append((upper * np.sign(np.diag(upper))[:, None]).T)
    arrays = {"mean": np.stack(means), "factor": np.stack(factors)}
    return {f"population_{name}": values.round(3).astype(np.float16) for name, values in arrays.items()} | {"population_names": np.array(list(GROUPS))}
