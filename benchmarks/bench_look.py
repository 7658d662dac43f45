"""How face-like the pictures are: how often OpenCV's eye cascade finds both eyes where they are, in clay and in random looks, near-frontal, no augmentation.

A picture whose lids are (nearly) shut shows no eyes to find and is left out: the opening of either eye, the distance of the lids' middles over that of the
corners, is under SHUT. Neutral and expressive faces count separately; so do pictures with glasses and things before the face, as often as params say.
"""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

import serep.faces
from serep.config import build, load_params
from serep.faces.head_model import HeadModel, SubjectPlan
from serep.faces.landmark_ids import LEFT_EYE_IDS, RIGHT_EYE_IDS
from serep.faces.parametric import ParametricHeadModel
from serep.geometry.camera import project
from serep.render import Appearance, Portraits, Scene, SceneRanges, open_renderer

PEOPLE, SIZE_PX, NEAR_FRONTAL_DEG = 200, 224, 12.0
LIDS = ((386, 374, 263, 362), (159, 145, 33, 133))  # middle of the upper and the lower lid, corners; left eye, right eye
SHUT = 0.16
SCALE_STEP, NEIGHBOURS, SMALLEST = 1.05, 3, 0.1  # of the cascade; the smallest eye as a share of the picture's side
TOLERANCE = 0.6  # of the distance between an eye's corners, from its middle to that of what was found
BACKGROUND = 128


def run() -> dict:
    """Shares of pictures of the built-in heads in which both eyes are found, with the numbers of pictures behind them."""
    torch.set_num_threads(1)
    params = load_params(Path(__file__).parents[1])
    return measure(serep.faces.open_head_model("makehuman", serep.faces.BUILT_IN_HEADS), build(SceneRanges, params.render.ranges), params.heads.plan(),
                   people=PEOPLE)


def measure(model: ParametricHeadModel, ranges: SceneRanges, plan: SubjectPlan, *, people: int) -> dict:
    """The same for any parametric source of heads."""
    portraits, renderer = Portraits(model.topology), open_renderer("numba", size_px=SIZE_PX, fallback=None)
    near = replace(ranges, yaw_max_deg=NEAR_FRONTAL_DEG, pitch_max_deg=NEAR_FRONTAL_DEG, roll_max_deg=NEAR_FRONTAL_DEG)
    plain = replace(near, glasses_share=0.0, occluder_share=0.0)
    cascade = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / "haarcascade_eye.xml"))
    found: dict[str, list[bool]] = {"clay_neutral": [], "neutral": [], "expressive": [], "expressive_with_glasses_and_occluders": []}
    shut = 0
    for person in range(people):
        rng = np.random.default_rng([17, person])
        neutral = model.draw_neutral(rng=rng)
        expressive = model.expressive(neutral, model.draw_weights(1, plan, rng=rng))[0]
        for kind, vertices, chosen in (("neutral", neutral, plain), ("expressive", expressive, plain),
                                       ("expressive_with_glasses_and_occluders", expressive, near)):
            sitter = portraits.sitter(neutral, chosen, rng=np.random.default_rng([18, person]))
            landmarks = model.topology.landmarks(vertices)
            if _opening(model, landmarks) < SHUT:
                shut += kind == "expressive"
                continue
            shot = sitter.sample_shot(chosen, landmarks, size_px=SIZE_PX, rng=np.random.default_rng([19, person]))
            scene = sitter.scene(vertices, shot)
            eyes = project(np.stack([landmarks[model.topology.landmark_rows(ids)].mean(axis=0) for ids in (LEFT_EYE_IDS, RIGHT_EYE_IDS)]), shot.camera)
            width = np.mean([np.linalg.norm(np.subtract(*project(landmarks[model.topology.landmark_rows(lids[2:])], shot.camera))) for lids in LIDS])
            found[kind].append(both_eyes_found(cascade, _picture(renderer, scene), eyes, TOLERANCE * width))
            if kind == "neutral":
                found["clay_neutral"].append(both_eyes_found(cascade, _picture(renderer, _clay(model, neutral, scene)), eyes, TOLERANCE * width))
    return {
        "both_eyes_found": {name: float(np.mean(values)) for name, values in found.items()},
        "pictures": {name: len(values) for name, values in found.items()}, "expressive_left_out_for_shut_lids": int(shut), "size_px": SIZE_PX,
    }  # fmt: skip


def both_eyes_found(cascade: cv2.CascadeClassifier, picture: np.ndarray, eyes: np.ndarray, tolerance: float) -> bool:
    """Whether the cascade marks something within `tolerance` px of each eye's middle (px)."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    smallest = round(SMALLEST * len(grey))
    boxes = np.array(cascade.detectMultiScale(grey, SCALE_STEP, NEIGHBOURS, minSize=(smallest, smallest)), float).reshape(-1, 4)
    middles = boxes[:, :2] + boxes[:, 2:] / 2
    return all((np.linalg.norm(middles - eye, axis=1) < tolerance).any() for eye in eyes)


def _opening(model: HeadModel, landmarks: np.ndarray) -> float:
    """Of the eye that is open less."""
    at = [landmarks[model.topology.landmark_rows(lids)] for lids in LIDS]
    return float(min(np.linalg.norm(upper - lower) / np.linalg.norm(outer - inner) for upper, lower, outer, inner in at))


def _clay(model: HeadModel, vertices: np.ndarray, scene: Scene) -> Scene:
    """The bare head in one colour under the same light."""
    count = len(vertices)
    return Scene(vertices, model.topology.faces, Appearance(np.full((count, 3), 0.5), np.zeros(count), np.ones(count)), np.ones(count), scene.light, scene.camera)


def _picture(renderer, scene: Scene) -> np.ndarray:
    layers = renderer.render(scene)
    return np.where(layers.mask[..., None] > 0, layers.rgb, np.uint8(BACKGROUND))


def main() -> None:
    from benchmarks.__main__ import main as run_benchmarks

    run_benchmarks(["look"])


if __name__ == "__main__":
    main()
