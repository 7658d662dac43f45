"""Bounds and shares of everything that is drawn at random."""
from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class SceneRanges:
    """Bounds of what is drawn at random; the values are the project's parameters. Angles in degrees, light in units of `Light`."""

    yaw_max_deg: float
    """Largest turn to either side; triangular distribution with its peak at 0, as are pitch and roll."""
    pitch_max_deg: float
    roll_max_deg: float
    view_min_deg: float
    """Field of view that a whole head fills: small is a telephoto from afar, large a selfie."""
    view_max_deg: float
    margin_min: float
    """Picture side over the side of the square around the projected landmarks."""
    margin_max: float
    shift_max: float
    """Largest shift of that square, as a share of the picture's side."""
    gaze_max_deg: float
    surroundings_min: float
    """Mean light from all around."""
    surroundings_max: float
    surroundings_contrast: float
    """Largest difference between the bright and the dark side of the surroundings, 0..1."""
    lamp_min: float
    lamp_max: float
    lamp_azimuth_max_deg: float
    """Largest angle of the lamp from the front, to the sides."""
    lamp_elevation_min_deg: float
    lamp_elevation_max_deg: float
    tint: float
    """Standard deviation of the light's warmth (log ratio of red to blue, halved)."""
    shadow_share: float
    """Share of pictures in which things stand in the lamp's light; in the others it shines through (a cloudy day, a ring of lamps)."""
    bald_share: float
    """Shares of people: without hair on the head, with a beard or stubble, grey, painted, with glasses."""
    beard_share: float
    grey_share: float
    makeup_share: float
    glasses_share: float
    occluder_share: float
    """Share of pictures with a hand or a thing before the face."""

    def __post_init__(self) -> None:
        for low, high in (("view_min_deg", "view_max_deg"), ("margin_min", "margin_max"), ("surroundings_min", "surroundings_max"),
                          ("lamp_min", "lamp_max"), ("lamp_elevation_min_deg", "lamp_elevation_max_deg")):  # fmt: skip
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} = {getattr(self, low)} exceeds {high} = {getattr(self, high)}; swap them")
        for field in fields(self):
            if field.name.endswith("_share") and not 0 <= getattr(self, field.name) <= 1:
                raise ValueError(f"{field.name} is a share from 0 to 1, got {getattr(self, field.name)}")
            if field.name != "lamp_elevation_min_deg" and getattr(self, field.name) < 0:
                raise ValueError(f"{field.name} must not be negative, got {getattr(self, field.name)}")
        if self.view_min_deg <= 0 or self.view_max_deg >= 120 or self.margin_min <= 0:
            raise ValueError(
                f"fields of view must lie within 0 and 120 degrees, margins over 0; got {self.view_min_deg} to {self.view_max_deg}, {self.margin_min}"
            )
