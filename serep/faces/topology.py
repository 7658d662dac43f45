"""One way of numbering a head's vertices: faces, mean head, landmarks, regions, parts and mirror."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int, UInt8

from serep.faces.landmark_ids import LANDMARK_IDS, mirrored_ids
from serep.geometry.mesh import Mesh

__all__ = ["FIXED_COUNT", "LANDMARK_IDS", "PARTS", "FaceTopology", "mirrored_ids"]

PARTS = ("skin", "eye_left", "eye_right", "mouth_inside", "teeth")
FIXED_COUNT = 300
_REGION_KEY = "region/"
_DTYPES = {
    "faces": np.int32, "template": np.float64, "landmark_ids": np.int32, "landmark_triangles": np.int32,
    "landmark_barycentric": np.float64, "parts": np.uint8, "fixed": np.int32,
}


@dataclass(frozen=True, eq=False)
class FaceTopology:
    """What all heads of one source share.

    `landmark_ids` are indices of MediaPipe's 478 points, ascending; landmark l lies at the barycentric mean of three vertices.
    `regions` are masks in 0..1 (see `serep.faces.regions`); `parts` index `part_names`. `mirror` is the vertex on the other side of the
    face, None where the mesh has no symmetry. `fixed` are the vertices that expressions move least; solves from gradients hold them.
    """

    name: str
    faces: Int[np.ndarray, "F 3"]
    template: Float[np.ndarray, "V 3"]
    landmark_ids: Int[np.ndarray, " L"]
    landmark_triangles: Int[np.ndarray, "L 3"]
    landmark_barycentric: Float[np.ndarray, "L 3"]
    regions: dict[str, Float[np.ndarray, " V"]]
    parts: UInt8[np.ndarray, " V"]
    part_names: tuple[str, ...] = PARTS
    mirror: Int[np.ndarray, " V"] | None = None
    fixed: Int[np.ndarray, " n"] = field(default_factory=lambda: np.zeros(0, np.int32))

    def __post_init__(self) -> None:
        for name, dtype in _DTYPES.items():
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype))
        if self.mirror is not None:
            object.__setattr__(self, "mirror", np.asarray(self.mirror, np.int32))
        count = len(self.template)
        for name in ("faces", "landmark_triangles", "fixed"):
            indices = getattr(self, name)
            if indices.size and not 0 <= indices.min() <= indices.max() < count:
                raise ValueError(f"topology {self.name!r}: {name} names the vertices {indices.min()} to {indices.max()}, but it has {count}")
        if len(self.landmark_ids) and (np.diff(self.landmark_ids) <= 0).any():
            raise ValueError(f"topology {self.name!r}: landmark_ids must ascend without repeats, got {self.landmark_ids.tolist()}")
        object.__setattr__(self, "regions", {name: np.asarray(mask, np.float32) for name, mask in self.regions.items()})
        wrong = [name for name, mask in self.regions.items() if mask.shape != (count,)]
        if wrong:
            raise ValueError(f"topology {self.name!r}: the regions {wrong} must have one number for each of the {count} vertices")

    def mesh(self, vertices: Float[np.ndarray, "V 3"]) -> Mesh:
        """These vertices with this topology's faces; ValueError when their number differs."""
        if vertices.shape != self.template.shape:
            raise ValueError(f"topology {self.name!r} has {len(self.template)} vertices, got an array of the shape {vertices.shape}")
        return Mesh(vertices, self.faces)

    def landmarks(self, vertices: Float[np.ndarray, "*B V 3"]) -> Float[np.ndarray, "*B L 3"]:
        """Positions of the landmarks on the given heads, in the order of `landmark_ids`."""
        return np.einsum("...lka,lk->...la", vertices[..., self.landmark_triangles, :], self.landmark_barycentric)

    def landmark_rows(self, ids: tuple[int, ...]) -> Int[np.ndarray, " L"]:
        """Rows of `landmarks` that hold the given MediaPipe ids; KeyError naming the ids that this topology lacks."""
        row = {int(one): place for place, one in enumerate(self.landmark_ids)}
        missing = [one for one in ids if one not in row]
        if missing:
            raise KeyError(f"topology {self.name!r} has no landmarks {missing} (found: {list(row)})")
        return np.array([row[one] for one in ids], np.int32)

    def same_faces(self, other: FaceTopology) -> bool:
        """Whether vertices of one may be used with the other."""
        return self.template.shape == other.template.shape and np.array_equal(self.faces, other.faces)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything as plain arrays for storage; `from_arrays` is the inverse."""
        arrays = {"name": np.array(self.name), "part_names": np.array(self.part_names)}
        arrays |= {name: getattr(self, name) for name in _DTYPES}
        arrays |= {_REGION_KEY + name: mask for name, mask in self.regions.items()}
        return arrays if self.mirror is None else arrays | {"mirror": self.mirror}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> FaceTopology:
        """From what `to_arrays` made; ValueError naming what is missing."""
        missing = sorted({"name", "part_names", *_DTYPES} - set(arrays))
        if missing:
            raise ValueError(f"stored topology lacks the arrays {missing} (found: {sorted(arrays)})")
        return cls(
            name=str(arrays["name"]), part_names=tuple(str(part) for part in arrays["part_names"]),
            regions={key.removeprefix(_REGION_KEY): np.asarray(arrays[key]) for key in arrays if key.startswith(_REGION_KEY)},
            mirror=np.asarray(arrays["mirror"]) if "mirror" in arrays else None, **{name: np.asarray(arrays[name]) for name in _DTYPES},
        )
