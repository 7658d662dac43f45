"""The built-in heads: MakeHuman's, CC0, packed by tools/pack_makehuman.py."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from serep.faces.parametric import ParametricHeadModel, least_moving, motion_of
from serep.faces.regions import compute_regions
from serep.faces.topology import PARTS, FaceTopology

BUILT_IN_HEADS = Path(__file__).parent / "assets" / "makehuman_heads.npz"


class MakeHumanHeads(ParametricHeadModel):
    """Adult heads with neck, eyes, mouth cavity, tongue and simple teeth; 5,006 vertices, 120 identity modes, 54 ARKit units."""

    name = "makehuman"

    def __init__(self, path: Path) -> None:
        """FileNotFoundError or ValueError when `path` is not the packed file."""
        if not path.is_file():
            raise FileNotFoundError(f"no MakeHuman heads at {path}. Use serep.faces.BUILT_IN_HEADS, or pack them with tools/pack_makehuman.py")
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        missing = sorted({"mean_q", "identity_q", "expression_q", "step", "expression_names", "faces", "landmark_ids"} - set(arrays))
        if missing:
            raise ValueError(f"{path} lacks the arrays {missing}: it was not packed by tools/pack_makehuman.py")
        template = arrays["mean_q"].T * float(arrays["step"])
        modes, units = (arrays[key].swapaxes(-1, -2) * np.float32(arrays["step"]) for key in ("identity_q", "expression_q"))
        faces, parts, hidden = arrays["faces"].astype(np.int32), arrays["parts"], arrays["hidden"]
        marks = {key: arrays[f"landmark_{key}"] for key in ("ids", "triangles", "barycentric")}
        paint = {key: arrays[f"paint_{key}"] for key in ("ids", "triangles", "barycentric")}
        regions = compute_regions(template, faces, parts, (marks, paint), hidden=hidden)
        topology = FaceTopology(
            name="makehuman-head", faces=faces, template=template, landmark_ids=marks["ids"], landmark_triangles=marks["triangles"],
            landmark_barycentric=marks["barycentric"], regions=regions, parts=parts, part_names=PARTS, mirror=arrays["mirror"],
            fixed=least_moving(motion_of(units), (parts == 0) & ~hidden),
        )
        super().__init__(topology, modes, units, tuple(str(name) for name in arrays["expression_names"]))
        self.licence, self.provenance = str(arrays["licence"]), str(arrays["provenance"])
