"""Videos as they come: grey, deep, tiny, huge, odd, of one frame, of varying rate."""
import logging
from fractions import Fraction

import av
import numpy as np
import pytest

from serep.data.video import VideoReader, _Clock

GREY_LEVELS = (40, 90, 140, 190)


def encode(path, pictures, *, codec="ffv1", pixels="rgb24", pixel_format="bgr0", rate=25, times=None, time_base=None, options=None):
    """Writes (H, W, C) or (H, W) arrays; `times` in units of `time_base`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(rate), options=options or {})
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], pixel_format
        if time_base is not None:
            stream.codec_context.time_base = stream.time_base = time_base
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=pixels)
            if pixels != pixel_format:
                frame = frame.reformat(format=pixel_format)
            if times is not None:
                frame.pts, frame.time_base = times[number], time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def levels(frames):
    return [round(float(frame[:, 8:].mean())) for frame in frames]


def flat(value, height=32, width=48):
    return np.full((height, width, 3), value, np.uint8)


def test_grey_video(tmp_path):
    encode(tmp_path / "grey.mkv", [flat(level)[..., 0] for level in GREY_LEVELS], pixels="gray", pixel_format="gray")
    frames = list(VideoReader(tmp_path / "grey.mkv"))
    assert frames[0].shape == (32, 48, 3) and all((frame[..., 0] == frame[..., 2]).all() for frame in frames)
    np.testing.assert_allclose(levels(frames), GREY_LEVELS, atol=1)


@pytest.mark.parametrize(("pixels", "pixel_format"), [("gray16le", "gray16le"), ("rgb48le", "gbrp16le"), ("rgb48le", "yuv420p10le")])
def test_deep_video(tmp_path, pixels, pixel_format):
    pictures = [np.full((32, 48) if pixels.startswith("gray") else (32, 48, 3), 257 * level, np.uint16) for level in GREY_LEVELS]
    encode(tmp_path / "deep.mkv", pictures, pixels=pixels, pixel_format=pixel_format)
    frames = list(VideoReader(tmp_path / "deep.mkv"))
    assert frames[0].dtype == np.uint8 and frames[0].shape == (32, 48, 3)
    np.testing.assert_allclose(levels(frames), GREY_LEVELS, atol=2)


@pytest.mark.parametrize("size", [(31, 47), (2, 2), (33, 1000), (2160, 3840)])
def test_any_size(tmp_path, size):
    encode(tmp_path / "any.mkv", [flat(100, *size), flat(150, *size)])
    reader = VideoReader(tmp_path / "any.mkv")
    assert reader.size == size and [frame.shape for frame in reader] == [(*size, 3)] * 2


def test_a_single_frame(tmp_path):
    encode(tmp_path / "one.mp4", [flat(120)], codec="libx264", pixel_format="yuv420p")
    reader = VideoReader(tmp_path / "one.mp4")
    assert len(list(reader)) == 1 and reader.fps == 25.0


def test_a_varying_rate_keeps_its_time(tmp_path, caplog):
    """Ten frames in the first second, then thirty in the next: what is shown when stays within two frames of the file's own times."""
    times = [100 * number for number in range(10)] + [1000 + round(1000 * number / 30) for number in range(30)]
    encode(tmp_path / "phone.mkv", [flat(5 * number) for number in range(40)], times=times, time_base=Fraction(1, 1000))
    reader = VideoReader(tmp_path / "phone.mkv")
    with caplog.at_level(logging.WARNING):
        frames = list(reader)
    shown = np.array([round(level / 5) for level in levels(frames)])
    assert len(frames) == pytest.approx(2 * reader.fps, abs=3) and (np.diff(shown) >= 0).all()
    drift = np.arange(len(frames)) / reader.fps - np.array(times)[shown] / 1000
    assert np.abs(drift).max() <= 0.1 + 2 / reader.fps  # the frame before stays until the next one comes
    assert "phone.mkv has a varying frame rate" in caplog.text and "repeated" in caplog.text


def test_a_rate_that_no_camera_has_is_measured(tmp_path):
    encode(tmp_path / "browser.mkv", [flat(level) for level in range(0, 240, 4)], rate=1000, times=[40 * number for number in range(60)],
           time_base=Fraction(1, 1000))
    reader = VideoReader(tmp_path / "browser.mkv")
    assert reader.fps == pytest.approx(25, rel=0.02) and len(list(reader)) == 60


def test_clock_repeats_leaves_out_and_forgives():
    clock = _Clock(10.0)
    assert [clock.repeats(time) for time in (5.0, 5.1, 5.19, 5.33, 5.4)] == [1] * 5  # a camera's unrest
    assert clock.repeats(6.0) == 6 and clock.repeats(6.1) == 1  # half a second's pause
    assert [clock.repeats(6.1 + 0.01 * step) for step in range(1, 30)].count(0) > 20  # far too many frames
    assert clock.repeats(5000.0) == 1 and clock.repeats(5000.1) == 1  # time stamps that start anew
    assert clock.repeats(None) == 1
    assert clock.repeated == 5 and clock.left_out > 20
