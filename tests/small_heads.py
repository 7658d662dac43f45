"""A bumpy sheet of 15 x 15 vertices that plays the part of a face: people of many shapes, each expression carried to each by deformation transfer."""
import numpy as np

from serep.data.heads import HeadSet
from serep.faces.topology import FaceTopology
from serep.geometry.deformation import PoissonSolver, deformation_transfer
from serep.geometry.mesh import Mesh

SIDE = 15
UNITS = 7


def sheet() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(vertices (V, 3) mm, faces, mirror)."""
    x, y = np.meshgrid(np.linspace(-70, 70, SIDE), np.linspace(-90, 90, SIDE))
    vertices = np.stack([x, y, 40 * np.exp(-(x**2 + y**2) / 60**2) + 12 * np.exp(-(x**2 + (y + 10) ** 2) / 15**2)], axis=-1).reshape(-1, 3)
    corner = (np.arange(SIDE - 1)[:, None] * SIDE + np.arange(SIDE - 1)).ravel()
    right, up, across = corner + 1, corner + SIDE, corner + SIDE + 1
    faces = np.concatenate([np.stack([corner, right, across], 1), np.stack([corner, across, up], 1)])
    mirror = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)[:, ::-1].ravel()
    return vertices, faces.astype(np.int32), mirror.astype(np.int32)


def small_topology() -> FaceTopology:
    vertices, faces, mirror = sheet()
    border = np.abs(vertices[:, 0]) > 69
    mouth = (vertices[:, 1] < -20) & ~border
    return FaceTopology(
        name="sheet", faces=faces, template=vertices, landmark_ids=np.array([13, 14]), landmark_triangles=faces[[10, 200]],
        landmark_barycentric=np.full((2, 3), 1 / 3), parts=np.zeros(len(vertices), np.uint8), mirror=mirror, fixed=np.flatnonzero(border),
        regions={"mouth": mouth.astype(float), "nose": (~mouth & ~border).astype(float), "cheek": np.zeros(len(vertices))})


def unit_displacements() -> np.ndarray:
    """(UNITS, V, 3) mm: bumps that push sideways, down or out, most of them on one side."""
    vertices, _, _ = sheet()
    rng = np.random.default_rng(5)
    centres = rng.uniform([-45, -60], [45, 60], (UNITS, 2))
    directions = 8 * rng.standard_normal((UNITS, 3))
    falloff = np.exp(-((vertices[None, :, :2] - centres[:, None]) ** 2).sum(-1) / 25**2) * np.clip((70 - np.abs(vertices[:, 0])) / 30, 0, 1)
    return falloff[..., None] * directions[:, None]


def draw_neutral(rng: np.random.Generator) -> np.ndarray:
    vertices, _, _ = sheet()
    stretch = 1 + 0.12 * rng.standard_normal(3)
    waves = np.zeros(len(vertices))
    for i, j in [(0, 1), (0, 2), (1, 1), (1, 2)]:
        waves += 4 * rng.standard_normal() * np.cos(vertices[:, 0] / 40 * i) * np.cos(vertices[:, 1] / 50 * j + rng.uniform(0, 6))
    return vertices * stretch + waves[:, None] * np.array([0.2, 0.2, 1.0])


def small_heads(*, train: int = 8, val: int = 2, test: int = 3, expressions: int = 10, paired: bool = True) -> HeadSet:
    topology, units = small_topology(), unit_displacements()
    neutrals, meshes, subjects, ids, names, splits = [], [], [], [], [], []
    for number, split in enumerate(["train"] * train + ["val"] * val + ["test"] * test):
        rng = np.random.default_rng([1, number])
        own = split == "train" or not paired
        draws = np.random.default_rng([2, number if own else {"val": 900, "test": 901}[split]])
        weights = draws.uniform(0.2, 1, (expressions, UNITS)) * (draws.random((expressions, UNITS)) < 0.5)
        weights[~weights.any(axis=1), 0] = 0.7
        neutral = draw_neutral(rng)
        expressive = topology.template + np.tensordot(weights, units, 1)
        meshes.append(deformation_transfer(topology.template, expressive, PoissonSolver(Mesh(neutral, topology.faces), fixed=topology.fixed)))
        neutrals.append(neutral)
        subjects += [number] * expressions
        ids += [f"{split}-{number}-{k}" if own else f"{split}-{k}" for k in range(expressions)]
        names.append(f"{split}-{number}")
        splits.append(split)
    return HeadSet(
        topology=topology, neutrals=np.float32(neutrals), subject_ids=tuple(names), subject_splits=tuple(splits),
        expressive=np.concatenate(meshes).astype(np.float32), expression_subject=np.array(subjects, np.int32), expression_ids=tuple(ids),
        weights=np.zeros((len(ids), 0), np.float32), expression_names=(), provenance={})


def training_options(**changes) -> dict:
    """Arguments of train_semantic that take a second on the sheet."""
    import torch

    options = {
        "kind": "neural", "code_size": 5, "gradient_modes": 12, "basis_meshes": 100, "displacement_modes": 10, "fit_tolerance": 0.003,
        "identity_modes": 3, "width": 32, "residual_blocks": 1,
        "weights": {"reconstruction": 1.0, "cycle": 0.5, "code": 0.1, "identity": 0.1}, "mix_share": 0.5, "steps": 60, "batch_size": 32,
        "learning_rate": 5e-3, "weight_decay": 1e-2, "warmup_share": 0.05, "gradient_clip": 1.0, "log_every": 10,
        "validate_every": 30, "seed": 0, "device": torch.device("cpu"),
    }  # fmt: skip
    return options | changes
