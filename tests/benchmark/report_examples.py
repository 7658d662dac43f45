"""Small contents of a report, for the tests of its parts."""
import io

import numpy as np
from PIL import Image

from serep.benchmark.report_content import Column, Figure, ReportContent, Row, Section, Table
from serep.benchmark.report_viewer import Clip, Head
from serep.faces.topology import FaceTopology


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(buffer, format=kind)
    return buffer.getvalue()


def table(own: float | None, baseline: float | None, *, better: str = "low") -> Table:
    columns = (Column("retargeting", "mm", better), Column("people", decimals=0))
    rows = (Row("neural", (own, 12), "own"), Row("displacement PCA", (baseline, 12), "baseline"), Row("floor", (0.0, 12)))
    return Table("Unseen people", columns, rows, "model")


def section(one: Table | None = None) -> Section:
    figures = (Figure(picture("PNG"), "A chart.", "curve going down"), Figure(picture("JPEG"), "Faces.", "faces"))
    return Section("What is shown.", (one or table(0.2, 0.3),), figures)


def example_content(**changes) -> ReportContent:
    content = {
        "title": "Semantic facial capture", "introduction": "What this is.", "key_numbers": (("people", "80"), ("retargeting", "0.20 mm")),
        "data": section(), "semantic": section(), "capture": section(), "benchmark": section(), "experiments": section(), "training": section(),
        "renderer_requested": "pyrender", "renderer_used": "pyrender", "adversarial_off": "", "quarantined": (),
        "provenance": (("git commit", "0123abc"), ("dvc.lock", "md5 9f"), ("renderer", "pyrender, Mesa")), "versions": (("numpy", "2.4"),),
        "licences": (("heads", "CC0"),), "data_hashes": (("data/heads", "md5 aa"),), "params": {"seed": 1, "semantic": {"code_size": 64}},
    }  # fmt: skip
    return ReportContent(**content | changes)


def example_clip(topology: FaceTopology, *, frames: int = 9, film: bool = False, name: str = "retargeting") -> Clip:
    """A jaw that drops by 20 mm and rises, with a model that is 1 mm off at the mouth and one that is 4 mm off when it is open."""
    mouth = topology.regions["mouth"]
    share = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frames) / (frames - 1))
    down, aside = np.array([0.0, -20.0, 0.0]), np.array([1.0, 0.0, 0.0])
    truth = topology.template + share[:, None, None] * mouth[:, None] * down
    own, linear = (truth + distance * share[:, None, None] * mouth[:, None] * aside for distance in (1.0, 4.0))
    heads = (Head("source", "source", 0.9 * truth), Head("neural", "own", own), Head("linear", "baseline", linear), Head("truth", "truth", truth))
    images = np.arange(frames, dtype=np.uint8)[:, None, None, None] * np.full((1, 32, 32, 3), 25, np.uint8)
    return Clip(name, f"From a to b <{name}>", heads, 25.0, ((frames // 2, "jaw & lips"), (0, "neutral")), images if film else None)
