"""Your own registered scans: a folder per person with neutral.obj and one mesh for each expression, all with the same faces."""
from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from serep.faces.head_model import Subject, SubjectPlan
from serep.faces.ict import is_ict_face, packed_landmarks
from serep.faces.landmark_ids import LANDMARK_IDS, PAINT_IDS
from serep.faces.makehuman import BUILT_IN_HEADS, MakeHumanHeads
from serep.faces.parametric import least_moving
from serep.faces.populations import EVERYBODY, check_populations
from serep.faces.regions import compute_regions
from serep.faces.topology import FaceTopology
from serep.geometry.mesh import Mesh
from serep.geometry.mesh_io import read_mesh
from serep.geometry.rigid import apply_rigid, rigid_align

log = logging.getLogger(__name__)

SUFFIXES = (".obj", ".ply")
NEUTRAL = "neutral"
MIXED_PEOPLE = 3  # of which a random person is made
WATCHED_PEOPLE = 5  # whose expressions say which vertices move least


@dataclass(eq=False)
class _Person:
    """One sub-folder: its files by expression name, the neutral when it can be read, and what was wrong so far."""

    name: str
    files: dict[str, Path]
    neutral: Mesh | None = None
    problems: list[tuple[str, str]] = field(default_factory=list)


class FolderHeads:
    """Scans of real people: `<path>/<person>/neutral.obj` and `<path>/<person>/<expression>.obj` (or .ply).

    A file that cannot be used (unreadable, another number of vertices, other faces, not finite) is left out and listed in its
    `Subject.problems`; a person without a usable neutral comes with an empty neutral. The faces of the first usable neutral, by the
    people's sorted names, are the topology. Landmarks are known for the built-in heads' faces and for ICT-FaceKit's; other meshes need
    `<path>/landmarks.npz` with `ids` (MediaPipe's), `triangles` (L, 3) and `barycentric` (L, 3).
    """

    name = "folder"
    licence = "not known: the licence of your scans"
    expression_names: tuple[str, ...] = ()
    populations = (EVERYBODY,)
    shares_frame = False

    def __init__(
        self, path: Path, *, unit: str = "mm", up: str = "y", front: str = "z", held_out: int | None = None,
        train_population: str = EVERYBODY, test_population: str = EVERYBODY, expression_transfer: str = "deformation",
    ) -> None:  # fmt: skip
        """`held_out`: how many people at the end of the sorted names (validation and test) must not enter `draw_neutral`, the mean or `fixed`.

        FileNotFoundError: no such folder, nobody in it, or no landmarks for its faces. ValueError: nobody has a usable neutral, or a choice
        that only drawn people leave open (population, expression_transfer) is not at its default.
        """
        check_populations(self.name, self.populations, {"train_population": train_population, "test_population": test_population})
        if expression_transfer != "deformation":
            raise ValueError(f"expression_transfer is {expression_transfer!r}, but scans bring their own expressions: leave it at 'deformation'")
        self._axes = {"unit": unit, "up": up, "front": front}
        self._people = _find_people(path)
        for person in self._people:
            person.neutral = self._read(person, NEUTRAL)
        usable = [person for person in self._people if person.neutral is not None]
        if not usable:
            reasons = [f"{file}: {reason}" for person in self._people for file, reason in person.problems]
            raise ValueError(f"nobody of the {len(self._people)} people in {path} has a usable neutral ({'; '.join(reasons[:3])})")
        self._reference = usable[0].neutral
        for person in usable[1:]:
            person.neutral = self._fitting(person, NEUTRAL, person.neutral)
        self._usable = [person for person in usable if person.neutral is not None]
        if held_out is not None and not 0 <= held_out < len(self._usable):
            raise ValueError(f"held_out is {held_out}, but {path} has {len(self._usable)} people with a neutral: leave somebody to learn from")
        self._held_out = held_out
        self._cast = self._usable[: len(self._usable) - (held_out or 0)]
        self.topology = self._find_topology(path)
        self.provenance = f"{len(self._usable)} people with a usable neutral, of {len(self._people)} folders in {path.name}"

    def draw_neutral(self, *, rng: np.random.Generator) -> Float[np.ndarray, "V 3"]:
        """A random convex mix of three people who are not held out. RuntimeError where the reader was not told who is."""
        if self._held_out is None:
            raise RuntimeError("people can be drawn once it is known whom to leave out: open the folder with held_out = val_people + test_people")
        chosen = rng.choice(len(self._cast), min(MIXED_PEOPLE, len(self._cast)), replace=False)
        first = self._cast[chosen[0]].neutral.vertices
        aligned = np.stack([first, *(_onto(self._cast[index].neutral.vertices, first) for index in chosen[1:])])
        return np.tensordot(rng.dirichlet(np.ones(len(chosen))), aligned, axes=1)

    def subjects(self, plan: SubjectPlan, *, seed: int) -> Iterator[Subject]:
        """People by sorted name: the last are for testing, those before for validation, the rest (at most the plan's number) for training.

        Within validation and within testing only expressions that all of them have are used, so that they are paired. `seed` changes nothing.
        """
        if plan.held_out_units:
            raise ValueError(f"held_out_units names {', '.join(plan.held_out_units)}, but nobody knows the units of scans: leave it empty")
        kept_back = plan.val_people + plan.test_people
        if len(self._usable) <= kept_back:
            raise ValueError(f"{len(self._usable)} people have a usable neutral, val_people is {plan.val_people} and test_people {plan.test_people}, "
                             "and somebody must be left to train on: add scans or lower these numbers")
        if self._held_out is not None and self._held_out < kept_back:
            raise ValueError(f"the folder was opened with held_out={self._held_out}, but val_people + test_people is {kept_back}: give that number")
        train = self._usable[: len(self._usable) - kept_back]
        if len(train) != plan.train_people:
            log.warning("%d people of the folder are left for training, train_people is %d", len(train), plan.train_people)
        val, test = self._usable[len(train) : len(train) + plan.val_people], self._usable[len(train) + plan.val_people :]
        for person in (person for person in self._people if person.neutral is None):
            nothing = np.zeros((0, 0, 3), np.float32)
            yield Subject(person.name, "train", nothing.reshape(0, 3), (), np.zeros((0, 0), np.float32), nothing, problems=tuple(person.problems))
        yield from (self._subject(person, "train", sorted(set(person.files) - {NEUTRAL})) for person in train[: plan.train_people])
        for split, people in (("val", val), ("test", test)):
            yield from self._paired(split, people)

    def _paired(self, split: str, people: list[_Person]) -> Iterator[Subject]:
        """People of one split with the expressions that each of them has in a usable file."""
        read = [self._subject(person, split, sorted(set(person.files) - {NEUTRAL})) for person in people]
        shared = sorted(set.intersection(*(set(subject.expression_ids) for subject in read))) if read else []
        if read and not shared:
            raise ValueError(f"the {split} people {', '.join(person.name for person in people)} have no expression in common: "
                             "give the same expression the same file name")
        for subject in read:
            rows = [subject.expression_ids.index(name) for name in shared]
            yield Subject(
                subject.subject_id, split, subject.neutral, tuple(shared), subject.weights[rows], subject.expressive[rows],
                (subject.source_files[0], *(subject.source_files[1 + row] for row in rows)), self.name, subject.problems,
            )  # fmt: skip

    def _subject(self, person: _Person, split: str, names: list[str]) -> Subject:
        meshes = {name: self._fitting(person, name, self._read(person, name)) for name in names}
        meshes = {name: mesh for name, mesh in meshes.items() if mesh is not None}
        expressive = np.array([mesh.vertices for mesh in meshes.values()], np.float32).reshape(-1, *person.neutral.vertices.shape)
        return Subject(
            subject_id=person.name, split=split, neutral=person.neutral.vertices.astype(np.float32), expressive=expressive,
            expression_ids=tuple(f"{person.name if split == 'train' else split}-{name}" for name in meshes),
            weights=np.zeros((len(meshes), 0), np.float32), origin=self.name, problems=tuple(dict.fromkeys(person.problems)),
            source_files=(_shown(person.files[NEUTRAL]), *(_shown(person.files[name]) for name in meshes)),
        )  # fmt: skip

    def _read(self, person: _Person, name: str) -> Mesh | None:
        if name not in person.files:
            person.problems.append((f"{person.name}/{name}", f"there is no {name}.obj or {name}.ply"))
            return None
        try:
            mesh = read_mesh(person.files[name], **self._axes)
        except (ValueError, OSError) as problem:
            person.problems.append((_shown(person.files[name]), f"cannot be read: {problem}"))
            return None
        if not np.isfinite(mesh.vertices).all():
            person.problems.append((_shown(person.files[name]), f"{(~np.isfinite(mesh.vertices)).any(axis=1).sum()} vertices are not finite"))
            return None
        return mesh

    def _fitting(self, person: _Person, name: str, mesh: Mesh | None) -> Mesh | None:
        """The mesh, or None with the reason noted when its faces are not those of the others."""
        if mesh is None:
            return None
        count, expected = len(mesh.vertices), len(self._reference.vertices)
        if count != expected:
            reason = f"has {count} vertices, the others have {expected}: register it to the same topology"
        elif not np.array_equal(mesh.faces, self._reference.faces):
            reason = f"has {expected} vertices like the others, but other faces: export it with the same vertex order"
        else:
            return mesh
        person.problems.append((_shown(person.files[name]), reason))
        return None

    def _find_topology(self, path: Path) -> FaceTopology:
        count = len(self._reference.vertices)
        built_in = MakeHumanHeads(BUILT_IN_HEADS).topology
        if count == len(built_in.template) and np.array_equal(self._reference.faces, built_in.faces):
            return built_in
        if is_ict_face(count, self._reference.faces):
            embeddings = packed_landmarks()
        elif (path / "landmarks.npz").is_file():
            embeddings = read_landmarks(path / "landmarks.npz", vertex_count=count)
        else:
            size = f"{count} vertices, {len(self._reference.faces)} faces"
            raise FileNotFoundError(f"the meshes in {path} ({size}) have neither the built-in heads' faces "
                                    "nor ICT-FaceKit's: put a landmarks.npz with ids, triangles and barycentric beside the people's folders")
        first = self._cast[0].neutral.vertices
        template = np.mean([_onto(person.neutral.vertices, first) for person in self._cast], axis=0)
        parts = np.zeros(count, np.uint8)
        marks = embeddings[0]
        return FaceTopology(
            name=f"folder-{count}", faces=self._reference.faces, template=template, landmark_ids=marks["ids"], landmark_triangles=marks["triangles"],
            landmark_barycentric=marks["barycentric"], regions=compute_regions(template, self._reference.faces, parts, embeddings), parts=parts,
            fixed=least_moving(self._motion(), np.ones(count, bool)),
        )  # fmt: skip

    def _motion(self) -> Float[np.ndarray, " V"]:
        """How far a few people's expressions move each vertex once head motion is taken off."""
        motion = np.zeros(len(self._reference.vertices))
        for person in self._cast[:WATCHED_PEOPLE]:
            neutral = person.neutral.vertices
            for mesh in self._subject(person, "train", sorted(set(person.files) - {NEUTRAL})).expressive:
                motion += np.linalg.norm(_onto(mesh.astype(np.float64), neutral) - neutral, axis=1)
        return motion


def read_landmarks(path: Path, *, vertex_count: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Embeddings of LANDMARK_IDS and of the PAINT_IDS that the file has; ValueError naming what is missing or does not fit."""
    with np.load(path, allow_pickle=False) as arrays:
        missing = sorted({"ids", "triangles", "barycentric"} - set(arrays.files))
        if missing:
            raise ValueError(f"{path} lacks the arrays {', '.join(missing)} (found: {', '.join(arrays.files)})")
        ids, triangles, barycentric = (arrays[key] for key in ("ids", "triangles", "barycentric"))
    row = {int(one): place for place, one in enumerate(ids)}
    absent = [one for one in LANDMARK_IDS if one not in row]
    if absent:
        raise ValueError(f"{path} lacks the landmarks {absent}: it must hold all {len(LANDMARK_IDS)} of serep.faces.LANDMARK_IDS")
    if triangles.shape != (len(ids), 3) or barycentric.shape != (len(ids), 3) or triangles.min() < 0 or triangles.max() >= vertex_count:
        raise ValueError(f"{path}: triangles and barycentric must have the shape ({len(ids)}, 3) and name the vertices 0 to {vertex_count - 1}")
    marks, paint = ({"ids": ids[rows], "triangles": triangles[rows], "barycentric": barycentric[rows]}
                    for rows in ([row[one] for one in wanted if one in row] for wanted in (LANDMARK_IDS, PAINT_IDS)))
    return marks, paint


def _find_people(root: Path) -> list[_Person]:
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root} of scans: it should hold one folder for each person")
    people = []
    for folder in sorted(place for place in root.iterdir() if place.is_dir() and not place.name.startswith(".")):
        person = _Person(folder.name, {})
        for file in sorted(place for place in folder.iterdir() if place.suffix.lower() in SUFFIXES):
            if file.stem in person.files:
                person.problems.append((_shown(file), f"is passed over: {person.files[file.stem].name} has the same expression"))
            else:
                person.files[file.stem] = file
        if person.files:
            people.append(person)
    if not people:
        raise FileNotFoundError(f"{root} holds nobody: expected <person>/neutral.obj and <person>/<expression>.obj (or .ply)")
    return people


def _onto(vertices: Float[np.ndarray, "V 3"], target: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "V 3"]:
    """Moved rigidly onto the target."""
    return apply_rigid(vertices, *rigid_align(vertices, target))


def _shown(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"
