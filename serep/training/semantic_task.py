"""Trains semantic models on registered heads: the linear kinds in closed form, then the networks in coefficient space."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from serep.data.heads import HeadSet
from serep.models.gradient_basis import fit_matrix
from serep.models.losses import code_distance, displacement_distance
from serep.models.semantic import SEMANTIC_KINDS, NeuralModel, SemanticModel
from serep.training.checkpoint import Checkpoint, training_key
from serep.training.loop import fit
from serep.training.semantic_fit import (
    BoundPerson,
    bind_people,
    fit_displacement_pca,
    fit_gradient_pca,
    fit_identity_basis,
    fit_linear_path,
    set_code_statistics,
    shape_mode_count,
)

LOSS_TERMS = ("reconstruction", "cycle", "code", "identity")
# Strength of an expression, and of the second one that is mixed in, when the networks are trained.
STRENGTH_RANGE = (0.3, 1.2)
SECOND_STRENGTH_RANGE = (0.0, 0.7)
# The networks see a coefficient in units of its deviation plus this share of the largest one, so that noise is not blown up.
SCALE_FLOOR = 0.003
TARGETS_PER_BATCH = 8


def train_semantic(
    heads: HeadSet,
    *,
    kind: str,
    code_size: int,
    gradient_modes: int,
    basis_meshes: int,
    displacement_modes: int,
    fit_tolerance: float,
    identity_modes: int,
    width: int,
    residual_blocks: int,
    weights: dict[str, float],
    mix_share: float,
    steps: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    warmup_share: float,
    gradient_clip: float,
    log_every: int,
    validate_every: int,
    seed: int,
    device: torch.device,
    on_metrics: Callable[[dict[str, float], int], None] | None = None,
    checkpoint: Path | None = None,
) -> tuple[SemanticModel, list[dict[str, float]]]:
    """A model of `kind` fitted to the train people, and its curve (empty for the linear kinds). The same seed gives the same model.

    The networks keep the weights that did best on the validation people, the linear path before training among them.

    gradient_modes  K, modes of the basis (gradient_pca has as many as code numbers)
    basis_meshes    at most this many expressive meshes, drawn at random, shape the modes
    displacement_modes  fixed displacements that the basis may mix in; 0: deformation gradients alone
    fit_tolerance   mm below which a direction counts as noise when coefficients are fitted
    weights         of the loss terms reconstruction, cycle, code and identity; a term of weight 0 is not computed
    mix_share       share of the batch that is the sum of two expressions
    checkpoint      file that keeps the networks' training, to go on from where it was interrupted
    """
    if kind not in SEMANTIC_KINDS:
        raise ValueError(f"no semantic model is called {kind!r}. Choose one of {', '.join(SEMANTIC_KINDS)}")
    if set(weights) != set(LOSS_TERMS):
        raise ValueError(f"loss weights must name {', '.join(LOSS_TERMS)}, got {', '.join(sorted(weights)) or 'none'}. Set unwanted terms to 0")
    if kind in ("gradient_fit", "neural") and gradient_modes < code_size:
        raise ValueError(f"a code of {code_size} numbers needs at least as many gradient modes, got {gradient_modes}. Raise gradient_modes")
    train = heads.select("train")
    if not len(train.expressive):
        raise ValueError("the heads hold no expressive mesh of a train person. Raise the number of train people or give more scans")
    meshes, people_count = min(basis_meshes, len(train.expressive)), len(train.neutrals)
    if kind in ("gradient_fit", "neural") and gradient_modes > meshes:
        raise ValueError(f"{gradient_modes} gradient modes cannot come from {meshes} expressive meshes. Lower gradient_modes or give more meshes")
    if kind == "neural" and not 1 <= identity_modes < people_count:
        raise ValueError(f"{identity_modes} identity modes cannot come from {people_count} train people. Set identity_modes to 1 to {people_count - 1}")
    if kind == "neural" and batch_size % TARGETS_PER_BATCH:
        raise ValueError(f"batch_size must be a multiple of {TARGETS_PER_BATCH}, got {batch_size}")
    rng = np.random.default_rng([seed, 0])
    chosen = np.sort(rng.permutation(len(train.expressive))[:basis_meshes])
    if kind == "displacement_pca":
        return fit_displacement_pca(train, chosen, code_size=code_size), []
    if kind == "gradient_pca":
        return fit_gradient_pca(train, chosen, code_size=code_size), []
    sizes = {"code_size": code_size, "gradient_modes": gradient_modes, "shape_modes": shape_mode_count(people_count)}
    if kind == "neural":
        sizes |= {"identity_modes": identity_modes, "width": width, "residual_blocks": residual_blocks}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SEMANTIC_KINDS[kind](heads.topology, **sizes)
    people = fit_linear_path(model, train, chosen, displacement_modes=displacement_modes, tolerance=fit_tolerance, rng=rng)
    if not isinstance(model, NeuralModel):
        return model.eval().requires_grad_(False), []
    shapes = fit_identity_basis(model, train)
    validation = heads.select("val")
    task = SemanticTask(
        model,
        people,
        shapes,
        bind_people(model, validation),
        np.concatenate([np.zeros((0, identity_modes), np.float32), *(model.neutral_shape(validation.topology.mesh(one)) for one in validation.neutrals)]),
        weights=weights,
        mix_share=mix_share,
        batch_size=batch_size,
        seed=seed,
        device=device,
    )
    with torch.no_grad():
        task.validate()
    settings = {"steps": steps, "learning_rate": learning_rate, "weight_decay": weight_decay, "warmup_share": warmup_share, "gradient_clip": gradient_clip,
                "log_every": log_every, "validate_every": validate_every}
    key = {**settings, "seed": seed, "weights": weights, "mix_share": mix_share, "batch_size": batch_size, "device": device.type}
    rows = fit(
        task,
        **settings,
        on_metrics=on_metrics,
        label=f"semantic {kind} {code_size}",
        checkpoint=None if checkpoint is None else Checkpoint(checkpoint, training_key(key, task.coefficients, task.refit, task.shapes,
                                                                                       *task.module.state_dict().values())),
    )
    task.keep_best()
    set_code_statistics(model, task.training_codes())
    return model.cpu().eval().requires_grad_(False), rows


class SemanticTask:
    """The three networks on fitted coefficients of people bound to the basis; drawn batches never see a vertex.

    reconstruction  decode(encode(mesh)) on the same person, mm
    cycle           encode, decode on another person, fit and encode there, decode on the first, mm
    code            the code that the other person's mesh gives, against the first, units of the code
    identity        the decoder's coefficients on another person against those on the first, mm
    """

    def __init__(
        self,
        model: NeuralModel,
        people: list[BoundPerson],
        shapes: Float[np.ndarray, "S N"],
        validation: list[BoundPerson],
        validation_shapes: Float[np.ndarray, "R N"],
        *,
        weights: dict[str, float],
        mix_share: float,
        batch_size: int,
        seed: int,
        device: torch.device,
    ):
        self.model = model.to(device)
        self.module = torch.nn.ModuleList([model.identity_encoder, model.encoder, model.decoder])
        self.weights, self.mix_share, self.batch_size, self.device = weights, mix_share, batch_size, device
        self.validation = validation
        deviations = model.mode_deviation.cpu().numpy().astype(np.float64)
        scale = torch.from_numpy(deviations + SCALE_FLOOR * deviations[0]).float()
        model.encoder.scale.copy_(scale)
        model.decoder.scale.copy_(scale)
        tolerance = float(model.tolerance)

        def tensor(array: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).float().to(device)

        self.coefficients = tensor(np.concatenate([person.coefficients for person in people]))
        self.subject = torch.from_numpy(np.repeat(np.arange(len(people)), [len(person.coefficients) for person in people])).to(device)
        self.shapes, self.validation_shapes = tensor(shapes), tensor(validation_shapes)
        # Posing coefficients on a person and fitting the mesh again: linear, and nearly the identity.
        covariance = np.diag(deviations**2)
        self.refit = tensor(np.stack([person.products @ fit_matrix(person.products, covariance, tolerance).T for person in people]))
        self._seed, self.generator = seed, torch.Generator()
        self._best: tuple[float, dict[str, Tensor]] | None = None

    def losses(self, step: int, steps: int) -> dict[str, Tensor]:
        self.generator.manual_seed(int(np.random.SeedSequence([self._seed, step]).generate_state(1)[0]))
        coefficients, source, targets = self._batch()
        target = targets.repeat_interleave(len(coefficients) // len(targets))
        source_identity, target_identity = self._identity(source), self._identity(target)
        encode, decode = self.model.encoder, self.model.decoder
        codes = encode(coefficients, source_identity)
        rebuilt = decode(codes, source_identity)
        terms = {"reconstruction": displacement_distance(rebuilt, coefficients)}
        if any(self.weights[name] for name in ("cycle", "code", "identity")):
            retargeted = decode(codes, target_identity)
            grouped = retargeted.reshape(len(targets), -1, retargeted.shape[1])
            returned = encode(torch.bmm(grouped, self.refit[targets]).reshape(retargeted.shape), target_identity)
            terms["code"] = code_distance(returned, codes)
            terms["identity"] = displacement_distance(retargeted, rebuilt)
            if self.weights["cycle"]:
                terms["cycle"] = displacement_distance(decode(returned, source_identity), coefficients)
        return {name: self.weights[name] * terms[name] for name in LOSS_TERMS if self.weights[name] and name in terms}

    def validate(self) -> dict[str, float]:
        """Root mean square vertex distance (mm, all vertices) of unseen people: on themselves, and on each other where expressions are shared."""
        if not self.validation:
            return {}
        identities = self.model.identity_encoder(self.validation_shapes)
        codes = [
            self.model.encoder(torch.from_numpy(person.coefficients).float().to(self.device), identity.expand(len(person.coefficients), -1))
            for person, identity in zip(self.validation, identities, strict=True)
        ]
        same, other = [], []
        for target, (person, identity) in enumerate(zip(self.validation, identities, strict=True)):
            rows = {name: row for row, name in enumerate(person.expression_ids)}
            for source, sent in enumerate(self.validation):
                shared = [row for row, name in enumerate(sent.expression_ids) if name in rows]
                if not shared:
                    continue
                decoded = self.model.decoder(codes[source][shared], identity.expand(len(shared), -1)).cpu().numpy().astype(np.float64)
                errors = person.rows([rows[sent.expression_ids[row]] for row in shared]).error(decoded)
                (same if source == target else other).append(errors.mean())
        scores = {"reconstruction_rms_mm": float(np.mean(same))}
        if other:
            scores["retargeting_rms_mm"] = float(np.mean(other))
        judged = scores.get("retargeting_rms_mm", scores["reconstruction_rms_mm"])
        if self._best is None or judged < self._best[0]:
            self._best = judged, {name: tensor.clone() for name, tensor in self.module.state_dict().items()}
        return scores

    def state(self) -> dict[str, Tensor]:
        if self._best is None:
            return {}
        judged, weights = self._best
        return {"judged": torch.tensor(judged, dtype=torch.float64), **{f"best/{name}": tensor for name, tensor in weights.items()}}

    def load_state(self, state: dict[str, Tensor]) -> None:
        best = {name.removeprefix("best/"): tensor.to(self.device) for name, tensor in state.items() if name.startswith("best/")}
        self._best = (float(state["judged"]), best) if best else None

    def keep_best(self) -> None:
        """Go back to the weights of the best validation, by retargeting where it can be told; without validation people keep the last."""
        if self._best is not None:
            self.module.load_state_dict(self._best[1])

    @torch.no_grad()
    def training_codes(self) -> np.ndarray:
        """The codes of the training set under the networks as they are."""
        return self.model.encoder(self.coefficients, self._identity(self.subject)).cpu().numpy()

    def _identity(self, people: Tensor) -> Tensor:
        return self.model.identity_encoder(self.shapes)[people]

    def _batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Coefficients of scaled and mixed expressions, their people, and a few other people, each the target of an equal share of the rows.

        Mixing across people is sound because fitted coefficients carry no shape; strength and mixing teach what the few meshes do not show.
        """
        size, count = self.batch_size, len(self.coefficients)
        first, second = torch.randint(count, (2, size), generator=self.generator).to(self.device)
        strength = self._uniform(*STRENGTH_RANGE)
        mixed = (torch.rand(size, 1, generator=self.generator) < self.mix_share).to(self.device)
        coefficients = strength * self.coefficients[first] + mixed * self._uniform(*SECOND_STRENGTH_RANGE) * self.coefficients[second]
        targets = torch.randint(len(self.shapes), (TARGETS_PER_BATCH,), generator=self.generator).to(self.device)
        return coefficients, self.subject[first], targets

    def _uniform(self, low: float, high: float) -> Tensor:
        return (low + (high - low) * torch.rand(self.batch_size, 1, generator=self.generator)).to(self.device)

