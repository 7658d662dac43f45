"""What is on each image: who, with which expression, lit and seen how; and its exact labels."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from serep.data.heads import HeadSet, read_heads
from serep.data.preprocess import neutral_problems
from serep.data.schema import RENDER_ARRAYS
from serep.data.shards import DrawnImages, Recipe
from serep.faces import open_head_model
from serep.faces.frame import align_neutral
from serep.faces.head_model import HeadModel
from serep.faces.topology import FaceTopology
from serep.geometry.camera import project
from serep.models.few_poses import FewPoses
from serep.models.semantic import SemanticModel
from serep.render.portrait import Portraits, Sitter
from serep.render.renderer import Renderer, open_renderer
from serep.synthesis.codes import CodeTable, draw_code
from serep.synthesis.plan import PartInputs, PartPlan

# default_rng([seed, split number, number, stream]); images' shots have no fourth number, which NumPy takes as 0
PEOPLE_STREAM, LOOKS_STREAM, CODES_STREAM = 1, 2, 3
DRAWING_ATTEMPTS = 20


@dataclass(frozen=True, eq=False)
class Pose:
    """One image's expression: the code, the vertices that it means (mm), how it came about, and its name for the index."""

    code: Float32[np.ndarray, " Z"]
    vertices: Float[np.ndarray, "V 3"]
    recipe: Recipe
    expression_id: str


class Studio:
    """Draws images of one plan. One per process: opening the models and the renderer costs seconds."""

    def __init__(self, plan: PartPlan, inputs: PartInputs) -> None:
        self.plan = plan
        self.model = SemanticModel.load(inputs.semantic_model)
        self.topology: FaceTopology = self.model.topology
        self.portraits = Portraits(self.topology)
        self.renderer: Renderer = open_renderer(plan.backend, size_px=plan.size_px, fallback=plan.fallback)
        if plan.split == "train":
            head_model = open_head_model(inputs.head_source, inputs.head_path, **inputs.head_options)
            if not self.topology.same_faces(head_model.topology):
                raise ValueError(f"the semantic model knows the topology {self.topology.name!r}, the source of heads {inputs.head_source!r} has "
                                 f"{head_model.topology.name!r}; train the model on heads of this source")
            self.cast: DrawnPeople | HeldOutPeople = DrawnPeople(plan, self.model, head_model)
        else:
            self.cast = HeldOutPeople(plan, self.model, read_heads(inputs.heads))
        self._visit = -1

    def draw(self, images: range, table: CodeTable) -> DrawnImages:
        """The images with these numbers in the part, in order; `table` is used by training parts only."""
        drawn: dict[str, list] = {layout.name: [] for layout in RENDER_ARRAYS}
        subject_ids, expression_ids, recipes = [], [], []
        for local in images:
            image = self.plan.first_image + local
            self._call(image // self.plan.images_per_person, table)
            rng = np.random.default_rng([self.plan.seed, self.plan.split_number, image])
            pose = self.cast.pose(image)
            for name, value in (self._photograph(pose, rng=rng) | {"subject": self.cast.subject, "seed": image}).items():
                drawn[name].append(value)
            subject_ids.append(self.cast.subject_id)
            expression_ids.append(pose.expression_id)
            recipes.append(pose.recipe)
        arrays = {layout.name: np.asarray(drawn[layout.name]).astype(layout.dtype) for layout in RENDER_ARRAYS}
        return DrawnImages(arrays, subject_ids, expression_ids, recipes)

    def _call(self, visit: int, table: CodeTable) -> None:
        """Lets the person of this visit (a run of images_per_person images) come in, with a look of the visit's own."""
        if visit == self._visit:
            return
        self._visit = visit
        rng = np.random.default_rng([self.plan.seed, self.plan.split_number, visit, LOOKS_STREAM])
        self._sitter: Sitter = self.portraits.sitter(self.cast.call(visit, table), self.plan.ranges, rng=rng)

    def _photograph(self, pose: Pose, *, rng: np.random.Generator) -> dict[str, object]:
        landmarks = self.topology.landmarks(pose.vertices)
        shot = self._sitter.sample_shot(self.plan.ranges, landmarks, size_px=self.plan.size_px, rng=rng)
        layers, camera = self.renderer.render(self._sitter.scene(pose.vertices, shot)), shot.camera
        return {"rgb": layers.rgb, "mask": layers.mask, "codes": pose.code, "landmarks": project(landmarks, camera), "intrinsics": camera.intrinsics,
                "world_to_camera": camera.world_to_camera, "expression": pose.recipe.rows[0]}


class DrawnPeople:
    """Training images: people nobody has met, playing the training set's codes. The label is the code that made the mesh, so it is exact."""

    def __init__(self, plan: PartPlan, model: SemanticModel, head_model: HeadModel) -> None:
        self.plan, self.model, self.head_model, self._poses = plan, model, head_model, FewPoses(model)

    def call(self, visit: int, table: CodeTable) -> Float[np.ndarray, "V 3"]:
        """Draws the person with the poses of all images of the visit, whichever of them are wanted: an image must not depend on that."""
        self.subject, self.subject_id = visit, f"drawn-{visit:06d}"
        self.neutral = self._draw_neutral(np.random.default_rng([self.plan.seed, self.plan.split_number, visit, PEOPLE_STREAM]))
        first = visit * self.plan.images_per_person
        streams = ([self.plan.seed, self.plan.split_number, image, CODES_STREAM] for image in range(first, first + self.plan.images_per_person))
        self._codes = [draw_code(table, mix=self.plan.codes, rng=np.random.default_rng(stream)) for stream in streams]
        self._vertices = self._poses.pose(self.model.topology.mesh(self.neutral), np.stack([code for code, _, _ in self._codes]))
        return self.neutral

    def pose(self, image: int) -> Pose:
        place = image % self.plan.images_per_person
        code, recipe, expression_id = self._codes[place]
        return Pose(code, self._vertices[place].astype(np.float64), recipe, expression_id)

    def _draw_neutral(self, rng: np.random.Generator) -> Float[np.ndarray, "V 3"]:
        """In the frame that training people stand in: their own where they share one, else the template's face, as in serep.data.preprocess."""
        problems: list[str] = []
        for _ in range(DRAWING_ATTEMPTS):
            neutral = np.asarray(self.head_model.draw_neutral(rng=rng), np.float64)
            if not self.head_model.shares_frame:
                neutral = align_neutral(neutral, self.model.topology)
            problems = neutral_problems(neutral, self.model.topology)
            if not problems:
                return neutral
        raise ValueError(f"{DRAWING_ATTEMPTS} random people of {self.head_model.name} in a row are unsound (last: {problems[0]}); "
                         "look at this source of heads")


class HeldOutPeople:
    """Validation and test images: the true meshes of people and expressions that no model was fitted to; the label is the mesh's own code."""

    def __init__(self, plan: PartPlan, model: SemanticModel, heads: HeadSet) -> None:
        if not model.topology.same_faces(heads.topology):
            raise ValueError(f"the semantic model knows the topology {model.topology.name!r}, the heads have {heads.topology.name!r}; "
                             "train the model on these heads")
        self.plan, self.model, self.heads = plan, model, heads
        self._meshes = [np.flatnonzero(heads.expression_subject == person) for person in range(len(heads.neutrals))]
        self._people = [person for person, split in enumerate(heads.subject_splits) if split == plan.split and len(self._meshes[person])]
        if not self._people:
            raise ValueError(f"the heads hold nobody of the split {plan.split!r} with an expression; part {plan.part} cannot be drawn")

    def call(self, visit: int, table: CodeTable) -> Float[np.ndarray, "V 3"]:
        """People come in turn, and go through all their expressions over their visits."""
        self.subject = self._people[visit % len(self._people)]
        self.subject_id = self.heads.subject_ids[self.subject]
        own, first = self._meshes[self.subject], visit // len(self._people) * self.plan.images_per_person
        self._rows = own[(first + np.arange(self.plan.images_per_person)) % len(own)]
        neutral = self.heads.neutrals[self.subject].astype(np.float64)
        unique, place = np.unique(self._rows, return_inverse=True)
        self._codes = self.model.encode(self.model.topology.mesh(neutral), self.heads.expressive[unique])[place]
        return neutral

    def pose(self, image: int) -> Pose:
        position = image % self.plan.images_per_person
        row = int(self._rows[position])
        return Pose(self._codes[position], self.heads.expressive[row].astype(np.float64), Recipe("own", (row,), (1.0,)),
                    self.heads.expression_ids[row])

