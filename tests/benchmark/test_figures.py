"""The report's pictures: they decode, show what they were given, and stay small."""
import io

import numpy as np
import pytest
from PIL import Image

from serep.benchmark import figures
from serep.benchmark.figures import RetargetingExample
from serep.render import sheets


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def near(pixels: np.ndarray, colour: tuple[int, int, int], tolerance: int = 40) -> np.ndarray:
    return (np.abs(pixels - np.array(colour)).max(axis=-1) <= tolerance)


def test_contact_sheet_places_every_image():
    images = np.zeros((5, 8, 8, 3), np.uint8)
    images[:, :, :, 0] = np.array([50, 100, 150, 200, 250])[:, None, None]
    pixels = decoded(figures.contact_sheet(images, columns=3))
    tile = sheets.tile_size_px(3)
    for index, red in enumerate([50, 100, 150, 200, 250]):
        row, column = divmod(index, 3)
        centre = pixels[4 + row * (tile + 4) + tile // 2, 4 + column * (tile + 4) + tile // 2]
        assert abs(centre[0] - red) < 6 and centre[1] < 10
    assert near(pixels[-tile // 2, -tile // 2], sheets.SHEET_BACKGROUND)  # the sixth place is empty


def test_captions_stand_below_and_are_cut_to_fit():
    images = np.zeros((2, 20, 20, 3), np.uint8)
    plain, captioned = (decoded(figures.contact_sheet(images, columns=2, captions=captions)) for captions in ((), ("short", "long " * 60)))
    assert captioned.shape[0] > plain.shape[0] and captioned.shape[1] == plain.shape[1]
    below = captioned[plain.shape[0] - 4 :]
    assert near(below[:, : below.shape[1] // 2], sheets.SHEET_TEXT).any() and not near(below[:, -4:], sheets.SHEET_TEXT).any()
    with pytest.raises(ValueError, match="1 captions for 2 images"):
        figures.contact_sheet(images, columns=2, captions=("one",))


def test_sheets_are_bounded(rng):
    noise = rng.integers(0, 255, (100, 64, 64, 3), dtype=np.uint8)
    assert len(figures.contact_sheet(noise, columns=10)) <= sheets.SHEET_LIMIT_BYTES
    for images in (np.zeros((121, 2, 2, 3), np.uint8), np.zeros((0, 2, 2, 3), np.uint8)):
        with pytest.raises(ValueError, match=f"a sheet holds 1 to 120 pictures, got {len(images)}"):
            figures.contact_sheet(images, columns=10)


def test_overlay_draws_landmarks_where_they_are():
    images = np.zeros((1, 100, 100, 3), np.uint8)
    predicted, reference = np.array([[[25.0, 50.0], [np.nan, np.nan]]]), np.array([[[75.0, 50.0], [50.0, 90.0]]])
    pixels = decoded(figures.overlay_sheet(images, predicted, reference, columns=1))
    scale = sheets.tile_size_px(1) / 100
    assert near(pixels[round(4 + 50 * scale), round(4 + 25 * scale)], figures.PREDICTED_COLOUR)
    ring = pixels[round(4 + 50 * scale) - 6 : round(4 + 50 * scale) + 7, round(4 + 75 * scale) - 6 : round(4 + 75 * scale) + 7]
    assert near(ring, figures.REFERENCE_COLOUR, 90).sum() >= 6
    between = pixels[round(4 + 50 * scale) - 2 : round(4 + 50 * scale) + 3, round(4 + 50 * scale)]
    assert near(between, figures.PREDICTED_COLOUR, 140).any() and between[:, 0].max() > 2 * between[:, 2].max()  # the line from truth to prediction
    lone = pixels[round(4 + 90 * scale) - 6 : round(4 + 90 * scale) + 7, round(4 + 50 * scale) - 6 : round(4 + 50 * scale) + 7]
    assert near(lone, figures.REFERENCE_COLOUR, 90).any() and not near(lone, figures.PREDICTED_COLOUR, 90).any()


def test_error_colours_grow_in_lightness_and_saturate():
    colours = sheets.error_colours(np.linspace(0, 3, 31)[None], 2.0)[0]
    lightness = colours @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness[:21]) > 0).all()
    np.testing.assert_array_equal(colours[20:], np.repeat(colours[20:21], 11, axis=0))
    with pytest.raises(ValueError, match=r"limit must be above 0 mm, got 0\.0"):
        sheets.error_colours(np.zeros((1, 2)), 0.0)


def test_drawn_error_has_the_colour_of_the_bar(topology):
    """The same error must look the same on the face and on the scale."""
    errors = np.full((1, len(topology.template)), 1.0)
    face = figures.draw_faces(topology.template[None], topology, size_px=96, colours=sheets.error_colours(errors, 2.0))[0].astype(int)
    bar = decoded(sheets.jpeg_bytes(sheets.with_colour_bar(np.zeros((10, 510, 3), np.uint8), 2.0)))[10 + 6 + 5, 12 + 210]
    forehead = face[20:40, 40:56].reshape(-1, 3)
    assert np.abs(np.median(forehead, axis=0) - bar).max() < 14


def test_faces_are_drawn_from_the_named_side(topology):
    images = [figures.draw_faces(topology.template[None], topology, size_px=96, view=view)[0] for view in ("front", "left_60", "right_60")]
    drawn = [(image != np.array(sheets.SHEET_BACKGROUND)).any(axis=-1) for image in images]
    assert all(0.2 < mask.mean() < 0.98 for mask in drawn)
    assert (drawn[1] == drawn[2][:, ::-1]).mean() > 0.97  # a symmetric head: the two sides mirror each other
    assert (drawn[1] == drawn[2]).mean() < 0.9


def test_retargeting_grid_shows_where_a_model_is_wrong(topology):
    source = topology.template.astype(np.float32)
    wrong = source.copy()
    wrong[topology.regions["mouth"] > 0.5] += np.float32([0, -5, 0])
    example = RetargetingExample("a → b", source, {"ours": source, "linear": wrong}, source)
    data = figures.retargeting_grid([example, example], topology, limit=2.0, tile_px=96)
    pixels = decoded(data)
    assert pixels.shape[1] == 6 * 100 + 4 and len(data) < 100_000
    ours, linear = pixels[48:144, 404:500], pixels[48:144, 504:600]
    yellow = (ours[..., 0] > 150) & (ours[..., 2] < 100), (linear[..., 0] > 150) & (linear[..., 2] < 100)
    assert yellow[0].sum() == 0 and yellow[1].sum() > 50
    with pytest.raises(ValueError, match="every line needs the same"):
        figures.retargeting_grid([example, RetargetingExample("c", source, {"ours": source}, source)], topology, limit=2.0)


def test_error_map_has_one_line_a_model(topology):
    errors = {"ours": np.zeros(len(topology.template)), "linear": np.ones(len(topology.template))}
    one, two = (
        decoded(figures.error_map_on_face(topology.template, topology, shown, limit=1.0, tile_px=96)) for shown in ({"ours": errors["ours"]}, errors)
    )
    assert two.shape[1] == one.shape[1] and two.shape[0] == one.shape[0] + 96 + 22 + 4


def test_curves_tolerate_gaps_and_nothing_at_all():
    rows = [{"step": float(step), "loss": 1.0 / (1 + step), "val_error": np.nan} for step in range(50)]
    rows[10]["val_error"] = 0.3
    data = figures.curves({"semantic": rows, "capture": []})
    pixels = decoded(data)
    assert len(data) < 100_000 and pixels.shape[1] == round(8.2 * figures.CHART_DPI)
    assert near(pixels, (31, 119, 180), 25).sum() > 100  # a blue line was drawn


def test_coverage_counts_units():
    weights = np.zeros((4, 2))
    weights[0, 0] = 1.0
    data = figures.coverage_histogram(weights, ["jawOpen", "smile"])
    assert len(data) < 60_000 and near(decoded(data), (8, 69, 127), 25).sum() > 20  # one strong bar
    with pytest.raises(ValueError, match="2 columns of weights for 1 names"):
        figures.coverage_histogram(weights, ["jawOpen"])
    with pytest.raises(ValueError, match=r"got shape \(3, 0\): scans have none"):
        figures.coverage_histogram(np.zeros((3, 0)), [])


def test_same_input_gives_the_same_bytes(rng):
    weights = rng.random((20, 3))
    assert figures.coverage_histogram(weights, ["a", "b", "c"]) == figures.coverage_histogram(weights, ["a", "b", "c"])
    rows = {"m": [{"step": 1.0, "loss": 2.0}, {"step": 2.0, "loss": 1.0}]}
    assert figures.curves(rows) == figures.curves(rows)
