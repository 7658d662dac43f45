"""The built-in heads: MakeHuman's, CC0, packed by tools/pack_makehuman.py."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from serep.faces.parametric import ParametricHeadModel, SculptedUnits, least_moving, motion_of
from serep.faces.populations import Population
from serep.faces.regions import compute_regions
from serep.faces.topology import PARTS, FaceTopology

BUILT_IN_HEADS = Path(__file__).parent / "assets" / "makehuman_heads.npz"


class MakeHumanHeads(ParametricHeadModel):
    """Adult heads with neck, eyes, mouth cavity, tongue and simple teeth; 4,926 vertices, 120 identity modes, 54 ARKit units.

    With `expression_transfer="sculpted"` the units are MakeHuman's own 34, which its artists sculpted for each of three origins.
    """

    name = "makehuman"

    def __init__(self, path: Path, *, expression_transfer: str = "deformation", **choices: str) -> None:
        """FileNotFoundError or ValueError when `path` is not the packed file; `choices` (whom to draw) are ParametricHeadModel's."""
        if not path.is_file():
            raise FileNotFoundError(f"no MakeHuman heads at {path}. Use serep.faces.BUILT_IN_HEADS, or pack them with tools/pack_makehuman.py")
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        missing = sorted({"mean_q", "identity_q", "expression_q", "sculpted_q", "step", "expression_names", "faces", "landmark_ids"} - set(arrays))
        if missing:
            raise ValueError(f"{path} lacks the arrays {missing}: it was not packed by this version's tools/pack_makehuman.py")
        template = arrays["mean_q"].T * float(arrays["step"])
        modes, units, of_origins = (arrays[key].swapaxes(-1, -2) * np.float32(arrays["step"]) for key in ("identity_q", "expression_q", "sculpted_q"))
        names, groups, origins = (tuple(str(name) for name in arrays[key]) for key in ("expression_names", "population_names", "sculpted_origins"))
        if expression_transfer == "sculpted":
            units, names = of_origins.mean(axis=0), tuple(str(name) for name in arrays["sculpted_names"])
        faces, parts, hidden = arrays["faces"].astype(np.int32), arrays["parts"], arrays["hidden"]
        marks = {key: arrays[f"landmark_{key}"] for key in ("ids", "triangles", "barycentric")}
        paint = {key: arrays[f"paint_{key}"] for key in ("ids", "triangles", "barycentric")}
        regions = compute_regions(template, faces, parts, (marks, paint), hidden=hidden)
        topology = FaceTopology(
            name="makehuman-head", faces=faces, template=template, landmark_ids=marks["ids"], landmark_triangles=marks["triangles"],
            landmark_barycentric=marks["barycentric"], regions=regions, parts=parts, part_names=PARTS, mirror=arrays["mirror"],
            fixed=least_moving(motion_of(units), (parts == 0) & ~hidden),
        )
        gaussians = zip(arrays["population_mean"].astype(np.float64), arrays["population_factor"].astype(np.float64), strict=True)
        super().__init__(
            topology, modes, units, names, groups={name: Population(*one) for name, one in zip(groups, gaussians, strict=True)},
            sculpted=SculptedUnits(origins, of_origins), expression_transfer=expression_transfer, **choices,
        )  # fmt: skip
        self.licence, self.provenance = str(arrays["licence"]), str(arrays["provenance"])
