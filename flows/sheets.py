"""Contact sheets of what a run made, for Prefect's pages: training images, and what the capture network finds in test images."""
from __future__ import annotations

from pathlib import Path

import numpy as np
from prefect import get_run_logger

from flows.artifacts import show_picture
from serep.benchmark.figures import contact_sheet, overlay_sheet, sample_of
from serep.config import Params
from serep.data.shards import open_part

SHOWN, COLUMNS = 12, 6
SCORED = "score_capture"


def show_sheets(root: Path, params: Params, made: list[str]) -> None:
    """The sheets of those stages among `made` that draw pictures."""
    first = params.render.parts_of("train")[0]
    try:
        if f"render@{first}" in made:
            show_picture("renders", renders_sheet(root / params.paths.part(first)), f"Training images of {root.name}, part {first}")
        if SCORED in made:
            sheet = capture_sheet(root / params.paths.capture_scores / "examples.npz")
            show_picture("capture", sheet, f"Landmarks that the capture network of {root.name} places on test images: predicted as dots, true as rings")
    except (OSError, ValueError, KeyError) as error:
        get_run_logger().warning("the contact sheets are not shown: %s", error)


def renders_sheet(folder: Path, *, shown: int = SHOWN, columns: int = COLUMNS) -> bytes:
    return contact_sheet(sample_of(open_part(folder), shown), columns=columns)


def capture_sheet(examples: Path) -> bytes:
    with np.load(examples, allow_pickle=False) as arrays:
        images, predicted, reference = (arrays[name] for name in ("images", "predicted", "reference"))
    rows = np.linspace(0, len(images) - 1, min(SHOWN, len(images))).astype(int)
    return overlay_sheet(images[rows], predicted[rows], reference[rows], columns=COLUMNS)
