"""What is to be drawn: plain frozen data, known to no backend. Lengths in mm, colours linear RGB, axes as in `serep.geometry`."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from serep.geometry.camera import Camera

LABELS = ("background", "skin", "eye_left", "eye_right", "mouth_inside", "teeth", "lips", "brows", "hair", "clothes", "glasses", "occluder")
"""What the numbers of `Scene.labels` and `Layers.labels` mean; left and right are the subject's."""


@dataclass(frozen=True, eq=False)
class Appearance:
    """How every vertex answers light."""

    albedo: Float[np.ndarray, "V 3"]
    """Share of light given back, linear RGB in 0..1."""
    specular: Float[np.ndarray, " V"]
    """Strength of the gloss in 0..1 (skin about 0.04)."""
    shininess: Float[np.ndarray, " V"]
    """Blinn-Phong exponent: skin 10-40, wet eyes over 200."""


@dataclass(frozen=True, eq=False)
class Light:
    """Surroundings as spherical harmonics, and one lamp at infinity; both fixed to the world (the head), not to the camera."""

    sh: Float[np.ndarray, "9 3"]
    """Irradiance over pi (so that 1 shows the albedo) in real spherical harmonics: 1; y, z, x; xy, yz, 3zz-1, xz, xx-yy."""
    direction: Float[np.ndarray, " 3"]
    """Unit vector towards the lamp."""
    colour: Float[np.ndarray, " 3"]
    """Its irradiance on a surface that faces it, over pi."""


@dataclass(frozen=True, eq=False)
class Scene:
    """One picture to draw. Triangles are counter-clockwise seen from outside; their insides are drawn too, darker."""

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    appearance: Appearance
    ambient_occlusion: Float[np.ndarray, " V"]
    """Share of the sky that a vertex sees, 0..1."""
    light: Light
    camera: Camera
    labels: UInt8[np.ndarray, " F"] | None = None
    """What each triangle is, as an index of LABELS; None: all is skin."""
    closed: Bool[np.ndarray, " F"] | None = None
    """Triangles of closed surfaces, whose inside no camera sees: left out when seen from behind, which saves time. None: there are none."""
    lamp_share: Float[np.ndarray, " V"] | None = None
    """Share of the lamp that a vertex sees, 0..1; None: nothing casts a shadow."""
