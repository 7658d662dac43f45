"""What the page's 3D view is given: read back as its layout is written, not by the code that packed it."""
import base64
import dataclasses
import io
import json
import zlib

import numpy as np
import pytest
from PIL import Image
from report_examples import example_clip

from serep.benchmark.report_viewer import Clip, Head, compress, make_viewer
from serep.render.sheets import error_colours

OPTIONS = {"limit": 1.0, "tolerance": 0.02, "budget_bytes": 3_000_000}
NUMBERS = {"u1": np.uint8, "u2": "<u2", "u4": "<u4", "i2": "<i2", "f4": "<f4"}


class Packed:
    """The page's data, decoded."""

    def __init__(self, data: str):
        self.header = json.loads(data)
        self.content = zlib.decompress(base64.b64decode(self.header["bytes"], validate=True))

    def array(self, place: dict) -> np.ndarray:
        assert place["offset"] % 4 == 0
        return np.frombuffer(self.content, NUMBERS[place["type"]], place["length"], place["offset"])

    def head(self, entry: dict, frame: int) -> np.ndarray:
        modes, base = entry["modes"], self.array(entry["base"])
        weights, shapes = self.array(entry["weights"])[frame * modes : (frame + 1) * modes], self.array(entry["shapes"]).reshape(modes, len(base))
        return (base + weights.astype(np.float64) @ shapes).reshape(-1, 3)


@pytest.fixture(scope="module")
def clip(topology):
    return example_clip(topology, film=True)


@pytest.fixture(scope="module")
def viewer(clip, topology):
    return make_viewer([clip], topology, **OPTIONS, text="Drag.")


@pytest.fixture(scope="module")
def packed(viewer):
    return Packed(viewer.data)


def test_every_frame_comes_back_within_the_tolerance(clip, packed, viewer):
    worst = 0.0
    for head, entry in zip(clip.heads, packed.header["clips"][0]["heads"], strict=True):
        for frame, vertices in enumerate(head.vertices):
            worst = max(worst, np.linalg.norm(packed.head(entry, frame) - vertices, axis=1).max())
    assert 0 < worst <= OPTIONS["tolerance"]
    assert viewer.accuracy == pytest.approx(worst, abs=1e-4) and viewer.text == "Drag."


def test_triangles_colours_and_masks_are_those_of_the_report(topology, packed):
    header = packed.header
    np.testing.assert_array_equal(packed.array(header["triangles"]).reshape(-1, 3), topology.faces)
    np.testing.assert_array_equal(packed.array(header["face"]), topology.regions["face"] > 0.5)
    tones = packed.array(header["tones"])
    names = np.array(topology.part_names)[topology.parts]
    assert tones[names == "teeth"].min() > tones[names == "skin"].max() > tones[names == "mouth_inside"].max()
    assert tones[topology.regions["pupil"] > 0.99].max(initial=0) <= 20 < tones[names == "eye_left"].max()
    colours = packed.array(header["colours"]).reshape(-1, 3) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(linear, error_colours(np.linspace(0, 1, len(colours))[None], 1.0)[0], atol=0.005)


def test_a_clip_says_what_it_shows(packed):
    clip = packed.header["clips"][0]
    assert (clip["name"], clip["fps"], clip["frames"], clip["marks"]) == ("retargeting", 25.0, 9, [[4, "jaw & lips"], [0, "neutral"]])
    assert [(head["name"], head["error"], head["truth"]) for head in clip["heads"]] == [
        ("source", False, False), ("neural", True, False), ("linear", True, False), ("truth", False, True)]  # fmt: skip
    centre, radius = np.array(clip["heads"][0]["centre"]), clip["heads"][0]["radius"]
    assert 80 < radius < 200 and abs(centre[0]) < 5


def test_the_film_has_its_frames_in_order(packed):
    film = packed.header["clips"][0]["film"]
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(film["source"].removeprefix("data:image/jpeg;base64,"))))).astype(int)
    size = sheet.shape[1] // film["columns"]
    assert film["rows"] == 1 and sheet.shape == (size, film["columns"] * size, 3)
    for frame in range(9):
        assert np.abs(sheet[size // 2, frame * size + size // 2] - 25 * frame).max() < 4


def test_same_heads_give_the_same_text_and_equal_arrays_are_kept_once(clip, topology, viewer, packed):
    assert make_viewer([clip], topology, **OPTIONS, text="Drag.") == viewer
    bases = [head["base"]["offset"] for head in packed.header["clips"][0]["heads"]]
    assert len(set(bases)) == 2  # all but the source start from the same neutral


def test_the_text_cannot_end_its_script_element(viewer, packed):
    assert not set("<>&") & set(viewer.data) and packed.header["clips"][0]["title"] == "From a to b <retargeting>"


def test_the_still_picture_shows_heads_and_errors(viewer):
    pixels = np.asarray(Image.open(io.BytesIO(viewer.still.image))).astype(int)
    tile = pixels.shape[1] // 6
    yellow = [(row[..., 0] > 150) & (row[..., 2] < 110) for row in (pixels[:, n * tile : (n + 1) * tile] for n in range(6))]
    counts = [int(mask[:180].sum()) for mask in yellow]
    assert counts[:4] == [0, 0, 0, 0] and counts[5] > 50  # source, neural, linear, truth, then the two errors
    assert viewer.still.caption == "From a to b <retargeting>: jaw & lips."


def test_few_shapes_are_enough_and_noise_needs_more(rng):
    shapes, weights = rng.standard_normal((3, 50, 3)), rng.standard_normal((40, 3))
    weights[0] = 0
    frames = np.tensordot(weights, shapes, 1) + 100 * rng.standard_normal((50, 3))
    base, stored, played = compress(frames, tolerance=0.05)
    assert stored.shape == (3, 50, 3) and stored.dtype == np.int16 and played.shape == (40, 3)
    restored = base + np.tensordot(played.astype(np.float64), stored.astype(np.float64), 1)
    assert np.linalg.norm(restored - frames, axis=-1).max() <= 0.05
    noisy = frames + 0.3 * rng.standard_normal(frames.shape)
    assert len(compress(noisy, tolerance=0.05)[1]) > 10 > len(compress(noisy, tolerance=3.0)[1])
    still = np.repeat(frames[:1], 5, axis=0)
    assert compress(still, tolerance=0.05)[1].shape == (0, 50, 3) and compress(still, tolerance=0.05)[2].shape == (5, 0)


def test_a_budget_costs_accuracy_not_heads(clip, topology, rng):
    shaken = [dataclasses.replace(head, vertices=head.vertices + 0.05 * rng.standard_normal(head.vertices.shape)) for head in clip.heads]
    rough = dataclasses.replace(clip, heads=tuple(shaken), film=None)
    exact, small = (make_viewer([rough], topology, **OPTIONS | {"budget_bytes": budget}) for budget in (3_000_000, 400_000))
    assert len(json.loads(small.data)["bytes"]) <= 400_000 < len(json.loads(exact.data)["bytes"]) and exact.accuracy <= 0.02 < small.accuracy < 1
    assert len(json.loads(small.data)["clips"][0]["heads"]) == 4


def test_a_capture_without_source_and_a_still_head_can_be_shown(topology):
    frames = np.repeat(topology.template[None], 3, axis=0)
    lone = Clip("still", "One head.", (Head("neutral", "source", frames),), 25.0, ((0, "neutral"),))
    packed = Packed(make_viewer([lone], topology, **OPTIONS).data)
    entry = packed.header["clips"][0]["heads"][0]
    assert entry["modes"] == 0 and packed.header["clips"][0]["film"] is None
    np.testing.assert_allclose(packed.head(entry, 2), topology.template, atol=1e-4)


def test_bad_clips_are_refused_by_name(clip, topology):
    heads = clip.heads
    broken = heads[0].vertices.copy()
    broken[1, 2] = np.nan
    for changes, message in (
        ({"heads": ()}, "clip 'retargeting' has no head with a frame"),
        ({"heads": (Head("x", "ours", heads[0].vertices),)}, "head 'x': role must be one of source, own, baseline, truth, got 'ours'"),
        ({"heads": (heads[0], Head("x", "own", heads[1].vertices[:4]))}, "head 'x' has 4 frames, the first has 9"),
        ({"heads": (Head("x", "own", broken),)}, "head 'x' has NaN or infinite positions"),
        ({"heads": (heads[3], heads[3])}, "has more than one truth"),
        ({"film": np.zeros((2, 8, 8, 3), np.uint8)}, "the film has 2 frames, the heads have 9"),
        ({"marks": ()}, r"needs at least one mark, each in frames 0 to 8; got \[\]"),
        ({"marks": ((9, "late"),)}, r"each in frames 0 to 8; got \[9\]"),
        ({"fps": 0.0}, "fps must be positive, got 0.0"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(clip, **changes)
    short = dataclasses.replace(clip, heads=tuple(Head(head.name, head.role, head.vertices[:, :7]) for head in heads))
    with pytest.raises(ValueError, match=r"the heads have \[7\] vertices, topology 'makehuman-head' has \d+: heads of another one"):
        make_viewer([short], topology, **OPTIONS)
    with pytest.raises(ValueError, match="limit, tolerance and budget_bytes must be positive, got 0.0, 0.02 and 3000000"):
        make_viewer([clip], topology, **OPTIONS | {"limit": 0.0})
