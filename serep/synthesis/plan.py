"""What one part of the labelled images is: every value that decides its bytes, and where its inputs lie."""
from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path

from serep.data.shards import PartSpec
from serep.faces.head_model import SPLITS
from serep.render.sampling import SceneRanges
from serep.synthesis.codes import CodeMix

DRAWING_PACKAGES = ("geometry", "faces", "models", "render", "data", "synthesis")
DRAWING_LIBRARIES = ("numpy", "scipy", "numba", "llvmlite", "torch", "zarr", "numcodecs", "pyarrow")
"""They decide pixels, labels or the bytes of files; the renderer names its own."""


@dataclass(frozen=True)
class PartPlan:
    """A stretch of one split's endless stream of images.

    Image k of a split is the same whichever part holds it: people and looks change every `images_per_shard / people_per_shard` images, and all
    else is drawn from streams of default_rng([seed, split number, k]). `inputs` are hashes of the files that the images are made from.
    """

    part: str
    split: str
    first_image: int
    images: int
    seed: int
    size_px: int
    images_per_shard: int
    people_per_shard: int
    codes: CodeMix  # of training images; the others have those of their meshes
    backend: str
    fallback: str | None
    ranges: SceneRanges
    inputs: Mapping[str, str]

    def __post_init__(self) -> None:
        if self.split not in SPLITS or self.images < 1 or self.first_image < 0:
            raise ValueError(f"part {self.part}: split {self.split!r}, {self.images} images from {self.first_image} on; "
                             f"give a split of {', '.join(SPLITS)} and at least one image, counted from 0")
        if not 1 <= self.people_per_shard <= self.images_per_shard or self.images_per_shard % self.people_per_shard:
            raise ValueError(f"part {self.part}: {self.people_per_shard} people cannot share {self.images_per_shard} images of a shard equally; "
                             "make images_per_shard a multiple of people_per_shard")

    @property
    def split_number(self) -> int:
        return SPLITS.index(self.split)

    @property
    def images_per_person(self) -> int:
        return self.images_per_shard // self.people_per_shard

    def spec(self, *, code_size: int, landmark_ids: tuple[int, ...], renderer: Mapping[str, str], store: str | None) -> PartSpec:
        """The part as the store sees it. A part drawn by another renderer is another part; one in another store is the same."""
        plan = asdict(self) | {"inputs": dict(self.inputs)}
        decides = {"plan": plan, "renderer": dict(renderer), "code_size": code_size, "landmark_ids": landmark_ids}
        plan_hash = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
        return PartSpec(part=self.part, split=self.split, images=self.images, images_per_shard=self.images_per_shard,
                        height_px=self.size_px, width_px=self.size_px, code_size=code_size, landmark_ids=landmark_ids,
                        plan_hash=plan_hash, plan=plan, renderer=dict(renderer), libraries=drawing_libraries(), code_hash=drawing_code_hash(),
                        store=store)


@dataclass(frozen=True)
class PartInputs:
    """The files that a worker opens: preprocessed heads, the semantic model, and the source of new people."""

    heads: Path
    semantic_model: Path
    head_source: str
    head_path: Path
    head_options: Mapping[str, object] = field(default_factory=dict)

    def absolute(self) -> PartInputs:
        """The same for a process with another working folder."""
        return replace(self, heads=self.heads.absolute(), semantic_model=self.semantic_model.absolute(), head_path=self.head_path.absolute())


def drawing_libraries() -> dict[str, str]:
    """Versions of Python and of the libraries that decide a part's bytes."""
    libraries = {name: version(name).split("+")[0] for name in DRAWING_LIBRARIES}  # torch for CPU and for GPUs draw alike
    return {"python": f"{sys.version_info.major}.{sys.version_info.minor}"} | libraries


@cache
def drawing_code_hash() -> str:
    """Hash of the code and the libraries that decide pixels and labels, so that a resumed part never mixes shards of two versions.

    Taken once in a process: a Dask worker that has been up since before an edit says what it runs, not what lies on the disk.
    """
    root, digest = Path(__file__).parents[1], hashlib.sha256(json.dumps(drawing_libraries()).encode())
    for file in sorted(file for package in DRAWING_PACKAGES for file in (root / package).rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
