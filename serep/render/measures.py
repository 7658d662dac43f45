"""Where things sit on a head: a few lengths and the outline that hair, neck and glasses are fitted to."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from serep.faces.landmark_ids import EYE_CORNER_IDS
from serep.faces.topology import FaceTopology

COARSE_DIRECTIONS = 24
OUTLINE_POINTS = 1500
SPREAD_DEG, SPREAD = 9.0, 9.0  # of the neighbours that an outline is averaged over: degrees, mm


@dataclass(frozen=True, eq=False)
class Measures:
    """Of one neutral, in mm. `scale` is the distance from the eyes to the mouth (about 70)."""

    scale: float
    eyes: Float[np.ndarray, " 3"]
    """Middle of the corners of both eyes."""
    mouth: Float[np.ndarray, " 3"]
    """Where the lips meet."""
    chin: float
    """Height of the chin."""
    half_width: float
    """Of the head above the ears."""
    ear_width: float
    """Half the width across the ears."""
    centre: Float[np.ndarray, " 3"]
    """Of the skull, at the height of its largest outline."""
    outline: Float[np.ndarray, "N 3"]
    """Points of skull, face and neck without the ears."""

    def spherical_radius(self, azimuth: Float[np.ndarray, " N"], elevation: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """Distance of the outline from the centre; azimuth from the front to the subject's left, radians."""
        directions = np.stack([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)], axis=1)
        away = self.outline - self.centre
        radii = np.linalg.norm(away, axis=1)
        closeness = directions @ (away / radii[:, None]).T
        return _averaged(radii, (closeness - 1) / (1 - np.cos(np.radians(SPREAD_DEG))))

    def cylindrical_radius(self, azimuth: Float[np.ndarray, " N"], height: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """Distance of the outline from the upright line through the centre."""
        away = self.outline - self.centre
        radii = np.maximum(np.hypot(away[:, 0], away[:, 2]), 1e-6)
        closeness = np.stack([np.sin(azimuth), np.cos(azimuth)], axis=1) @ (away[:, [0, 2]] / radii[:, None]).T
        return _averaged(radii, (closeness - 1) / (1 - np.cos(np.radians(SPREAD_DEG))) - 0.5 * ((height[:, None] - self.outline[:, 1]) / SPREAD) ** 2)


def _averaged(values: Float[np.ndarray, " N"], exponents: Float[np.ndarray, "D N"]) -> Float[np.ndarray, " D"]:
    weights = np.exp((exponents - exponents.max(axis=1, keepdims=True)).astype(np.float32))
    return weights @ values / weights.sum(axis=1)


def measure(neutral: Float[np.ndarray, "V 3"], topology: FaceTopology, back: Float[np.ndarray, "N 3"]) -> Measures:
    """`back` are points of a back of the head that the topology lacks (none: an empty array)."""
    marks = topology.landmarks(neutral)
    eyes, mouth = (marks[topology.landmark_rows(ids)].mean(axis=0) for ids in (EYE_CORNER_IDS, (13, 14)))
    scale = float(eyes[1] - mouth[1])
    skin = np.concatenate([neutral[topology.parts == 0], back])
    front = skin[(np.abs(skin[:, 0]) < 0.2 * scale) & (skin[:, 2] > mouth[2] - 0.45 * scale) & (skin[:, 1] < mouth[1])]
    chin = float(np.clip(front[:, 1].min() if len(front) else -np.inf, mouth[1] - 0.85 * scale, mouth[1] - 0.45 * scale))
    temples = skin[(skin[:, 1] > eyes[1] + 0.5 * scale) & (skin[:, 1] < eyes[1] + 1.1 * scale)]
    half_width = float(np.abs(temples[:, 0]).max()) if len(temples) else 1.1 * scale
    outline = skin[:: max(1, len(skin) // OUTLINE_POINTS)].copy()
    outline[:, 0] = np.clip(outline[:, 0], -half_width, half_width)  # off with the ears
    skull = outline[outline[:, 1] > eyes[1]]
    centre = np.array([0.0, eyes[1] + 0.35 * scale, 0.5 * (skull[:, 2].min() + skull[:, 2].max())]) if len(skull) else eyes - [0, 0, 1.4 * scale]
    return Measures(scale, eyes, mouth, chin, half_width, float(np.abs(skin[:, 0]).max()), centre, outline)
