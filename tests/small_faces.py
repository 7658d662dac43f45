"""The built-in heads on 1,600 vertices: people that tests of other topologies can be made of in seconds, with eyes, teeth and a mouth inside."""
import numpy as np
from small_heads import training_options

from serep.data.heads import HeadSet
from serep.faces.parametric import least_moving
from serep.faces.topology import FaceTopology
from serep.geometry.remesh import remeshed
from serep.geometry.surface_map import map_to_surface
from serep.training.semantic_task import train_semantic

UNITS = ("jawOpen", "mouthSmile_L", "mouthSmile_R", "mouthPucker", "eyeBlink_L", "eyeBlink_R", "jawLeft", "mouthFunnel")


def coarse(topology: FaceTopology, vertex_count: int = 1600):
    """(topology, matrix from the fine one's vertices to it)."""
    mesh, matrix = remeshed(topology.mesh(topology.template), vertex_count, rng=np.random.default_rng(0))
    places = map_to_surface(topology.landmarks(topology.template), None, mesh)
    parts = topology.parts[matrix.indices[matrix.indptr[:-1]]]
    regions = {name: np.round(matrix @ mask.astype(float)) for name, mask in topology.regions.items()}
    still = least_moving(np.where(regions["face"] > 0.5, 1e3, -mesh.vertices[:, 2]), parts == 0, 100)
    small = FaceTopology(
        name="small-face", faces=mesh.faces, template=mesh.vertices, landmark_ids=topology.landmark_ids, landmark_triangles=places.corners,
        landmark_barycentric=places.weights, regions=regions, parts=parts, fixed=still)  # fmt: skip
    return small, matrix


def small_face_heads(head_model, *, train: int = 9, test: int = 2, expressions: int = 8) -> tuple[HeadSet, HeadSet, HeadSet]:
    """(train people, test people who share expressions, the same test people on the fine topology)."""
    small, matrix = coarse(head_model.topology)
    columns = [head_model.expression_names.index(name) for name in UNITS]
    rows = []
    for number in range(train + test):
        rng = np.random.default_rng([7, number])
        neutral = head_model.neutral(0.8 * rng.standard_normal(len(head_model.identity_modes)))
        shown = rng if number < train else np.random.default_rng(8)
        weights = np.zeros((expressions, len(head_model.expression_names)))
        weights[:, columns] = shown.uniform(0.3, 1, (expressions, len(UNITS))) * (shown.random((expressions, len(UNITS))) < 0.4)
        weights[np.arange(expressions), np.array(columns)[np.arange(expressions) % len(UNITS)]] = 0.9
        rows.append((neutral, head_model.expressive(neutral, weights)))

    def gathered(people, topology, carry, split):
        names = [f"{split}-{number}" for number in range(len(people))]
        return HeadSet(
            topology=topology, neutrals=np.stack([carry(neutral) for neutral, _ in people]).astype(np.float32), subject_ids=tuple(names),
            subject_splits=(split,) * len(people),
            expressive=np.concatenate([[carry(one) for one in shown] for _, shown in people]).astype(np.float32),
            expression_subject=np.repeat(np.arange(len(people)), expressions).astype(np.int32),
            expression_ids=tuple(f"{name if split == 'train' else split}-{k}" for name in names for k in range(expressions)),
            weights=np.zeros((len(people) * expressions, 0), np.float32), expression_names=(), provenance={})  # fmt: skip

    fine = gathered(rows[train:], head_model.topology, lambda vertices: vertices, "test")
    return gathered(rows[:train], small, lambda vertices: matrix @ vertices, "train"), gathered(rows[train:], small, lambda v: matrix @ v, "test"), fine


def small_face_model(train: HeadSet, kind: str = "gradient_fit"):
    return train_semantic(train, **training_options(kind=kind, code_size=10, gradient_modes=20, displacement_modes=5))[0]
