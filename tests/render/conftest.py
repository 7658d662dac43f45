import pytest

from serep.render import Portraits, SceneRanges


@pytest.fixture(scope="session")
def scene_ranges() -> SceneRanges:
    return SceneRanges(
        yaw_max_deg=75.0, pitch_max_deg=30.0, roll_max_deg=25.0, view_min_deg=12.0, view_max_deg=45.0, margin_min=1.8, margin_max=2.5, shift_max=0.08,
        gaze_max_deg=20.0, surroundings_min=0.25, surroundings_max=0.8, surroundings_contrast=0.8, lamp_min=0.1, lamp_max=0.8,
        lamp_azimuth_max_deg=100.0, lamp_elevation_min_deg=-15.0, lamp_elevation_max_deg=70.0, tint=0.1,
        shadow_share=0.8, bald_share=0.1, beard_share=0.3, grey_share=0.1, makeup_share=0.15, glasses_share=0.2, occluder_share=0.1,
    )  # fmt: skip


@pytest.fixture(scope="session")
def portraits(topology) -> Portraits:
    """Of the built-in head."""
    return Portraits(topology)
