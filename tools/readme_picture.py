#!/usr/bin/env python3
"""Draws docs/picture.jpg from the run that lies here: unseen expressions carried to unseen people, above training images.

usage: tools/readme_picture.py
"""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from flows.sheets import renders_sheet
from serep.benchmark.figures import RetargetingExample, retargeting_grid
from serep.config import load_params
from serep.data.heads import read_heads

ROOT = Path(__file__).resolve().parent.parent
KINDS = {"neural": "serep", "displacement_pca": "linear 3DMM"}
EXAMPLES, IMAGES, COLUMNS, LIMIT_MM, WIDTH, QUALITY = 3, 16, 8, 2.0, 1400, 85


def main() -> None:
    paths = load_params(ROOT).paths
    with np.load(ROOT / paths.semantic_scores / "examples.npz", allow_pickle=False) as arrays:
        lines = [RetargetingExample(str(arrays["labels"][row]), arrays["source"][row], {name: arrays[f"model/{kind}"][row] for kind, name in KINDS.items()},
                                    arrays["truth"][row]) for row in range(EXAMPLES)]
    grid = retargeting_grid(lines, read_heads(ROOT / paths.surfaces).topology, limit=LIMIT_MM)
    sheet = renders_sheet(ROOT / paths.part("train-0"), shown=IMAGES, columns=COLUMNS)
    pictures = [cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR) for one in (grid, sheet)]
    fitted = [cv2.resize(one, (WIDTH, round(one.shape[0] * WIDTH / one.shape[1])), interpolation=cv2.INTER_AREA) for one in pictures]
    cv2.imwrite(str(ROOT / "docs" / "picture.jpg"), np.vstack(fitted), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


if __name__ == "__main__":
    main()
