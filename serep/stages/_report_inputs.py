"""What the report shows of files that earlier stages wrote."""
from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from serep.benchmark.report_clips import capture_clip, retargeting_clip
from serep.benchmark.report_content import Viewer
from serep.benchmark.report_sections import ERROR_LIMIT
from serep.benchmark.report_viewer import make_viewer
from serep.data.coverage import recipe_shares, unit_coverage
from serep.data.heads import HeadSet
from serep.data.render_part import RenderPart
from serep.data.video import VideoReader
from serep.models.semantic import SemanticModel
from serep.training.tracking import locked_hashes

CLIP_EXPRESSIONS, CLIP_FRAMES, CLIP_FPS = 6, 24, 25.0
CLIP_TOLERANCE, CLIP_BYTES = 0.02, 3_000_000  # mm that packing may move a vertex; of the page


def heads_in_motion(
    models: Mapping[str, SemanticModel], test: HeadSet, benchmark: Path, *, seed: int, frames_per_expression: int, fps: float
) -> Viewer:
    """The 3D view: what the released model carries worst from one test person to another, and the captured benchmark film."""
    film = np.stack(list(VideoReader(benchmark / "sequence.mp4")))
    clips = [
        retargeting_clip(models, test, expressions=CLIP_EXPRESSIONS, frames_per_expression=CLIP_FRAMES, fps=CLIP_FPS, seed=seed),
        capture_clip(test, arrays(benchmark / "capture.npz")["vertices"], film, frames_per_expression=frames_per_expression, fps=fps)]
    return make_viewer(clips, test.topology, limit=ERROR_LIMIT, tolerance=CLIP_TOLERANCE, budget_bytes=CLIP_BYTES,
                       text="Drag to turn. The first clip plays the unseen expressions that the released model misses most, on an unseen person.")


def units_in_renders(parts: Sequence[RenderPart], heads: HeadSet) -> dict[str, object]:
    """What the training renders show of each expression unit, and how their codes came about; nothing for heads without units."""
    return {"coverage": unit_coverage(parts, heads), "recipes": recipe_shares(parts)} if heads.weights.shape[1] else {}


def arrays(file: Path) -> dict[str, np.ndarray]:
    with np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def curve(file: Path) -> list[dict[str, float]]:
    with file.open(newline="") as stream:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(stream)]


def hashes(root: Path, report: Path) -> tuple[tuple[str, str], ...]:
    """Of every output made before this stage, as DVC recorded them."""
    return tuple(sorted((path, md5) for path, md5 in locked_hashes(root).items() if path != report.as_posix()))
