"""Video in and out: round trip, orientation, odd sizes, and files that are not what they seem."""
import logging
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from serep.data.video import VideoReader, VideoWriter

CORNERS = {"top_left": (230, 30, 30), "top_right": (30, 200, 30), "bottom_left": (30, 30, 230), "bottom_right": (220, 220, 40)}


def corner_image(height: int = 48, width: int = 80) -> np.ndarray:
    image = np.empty((height, width, 3), np.uint8)
    top, left = height // 2, width // 2
    image[:top, :left], image[:top, left:] = CORNERS["top_left"], CORNERS["top_right"]
    image[top:, :left], image[top:, left:] = CORNERS["bottom_left"], CORNERS["bottom_right"]
    return image


def corner_colours(image: np.ndarray) -> list[str]:
    """Which corner each quarter of the image shows, in the order of CORNERS."""
    height, width = image.shape[:2]
    seen = [image[y, x].astype(int) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return [min(CORNERS, key=lambda name: np.abs(colour - CORNERS[name]).sum()) for colour in seen]


def write(path, frames: int, image: np.ndarray, fps: float = 25.0) -> None:
    with VideoWriter(path, fps, image.shape[:2]) as writer:
        for index in range(frames):
            frame = image.copy()
            frame[:, :8] = 20 * index  # the frame's number, readable after compression
            writer.write(frame)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_round_trip_keeps_count_rate_order_and_colours(tmp_path, suffix):
    path = tmp_path / f"clip{suffix}"
    write(path, 10, corner_image(), fps=30_000 / 1001)
    reader = VideoReader(path)
    assert reader.fps == pytest.approx(29.97, abs=0.001) and reader.size == (48, 80)
    frames = list(reader)
    assert len(frames) == 10 and abs(reader.frame_count - 10) <= 1
    for index, frame in enumerate(frames):
        assert frame.dtype == np.uint8 and abs(float(frame[:, :6].mean()) - 20 * index) < 3
        difference = np.abs(frame[:, 16:].astype(int) - corner_image()[:, 16:]).mean()
        assert difference < 4, "colours changed: the matrix used to write is not the one used to read"
    assert len(list(reader)) == 10  # a reader starts again
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_every_player_can_show_it(tmp_path):
    write(tmp_path / "clip.mp4", 3, corner_image())
    with av.open(str(tmp_path / "clip.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, context.colorspace, context.color_range) == ("h264", "yuv420p", 1, 1)
    data = (tmp_path / "clip.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # a browser can start before it has the whole file


def test_odd_sizes_are_padded(tmp_path):
    write(tmp_path / "odd.mp4", 2, corner_image(47, 81))
    frame = next(iter(VideoReader(tmp_path / "odd.mp4")))
    assert frame.shape == (48, 82, 3)
    np.testing.assert_allclose(frame[47].astype(int), frame[46].astype(int), atol=6)


@pytest.mark.parametrize(("degrees", "expected"), [
    (0, ["top_left", "top_right", "bottom_left", "bottom_right"]),
    (90, ["top_right", "bottom_right", "top_left", "bottom_left"]),  # a quarter turn anti-clockwise brings the right side to the top
    (180, ["bottom_right", "bottom_left", "top_right", "top_left"]),
    (-90, ["bottom_left", "top_left", "bottom_right", "top_right"]),
])
@pytest.mark.parametrize("mirrored", [False, True])
def test_rotation_metadata_is_honoured(tmp_path, degrees, expected, mirrored):
    path = tmp_path / "phone.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.height, stream.width, stream.pix_fmt = 48, 80, "yuv420p"
        stream.set_display_rotation(degrees, hflip=mirrored)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(corner_image(), format="rgb24")))
        container.mux(stream.encode())
    reader = VideoReader(path)
    frame = next(iter(reader))
    assert frame.shape[:2] == reader.size == ((48, 80) if degrees % 180 == 0 else (80, 48))
    if mirrored:
        expected = [expected[1], expected[0], expected[3], expected[2]]
    assert corner_colours(frame) == expected


def test_a_truncated_file_gives_its_frames_and_a_warning(tmp_path, caplog):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    with VideoWriter(tmp_path / "whole.mp4", 25.0, (64, 64)) as writer:
        for shift in range(40):
            writer.write(np.roll(noise, shift, 0))
    data = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    with caplog.at_level(logging.WARNING):
        frames = list(VideoReader(tmp_path / "cut.mp4"))
    assert 0 < len(frames) < 40
    np.testing.assert_allclose(frames[0].astype(int).mean(), noise.mean(), atol=5)
    assert "cut.mp4 is damaged or cut short" in caplog.text and "of 40 frames" in caplog.text


def test_a_file_without_its_end_index_is_refused_by_name(tmp_path):
    write(tmp_path / "whole.mp4", 5, corner_image())
    data = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: data.index(b"moov") + 40])
    with pytest.raises(ValueError, match=r"cut\.mp4"):
        VideoReader(tmp_path / "cut.mp4")


def test_not_a_video(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no video at .*gone"):
        VideoReader(tmp_path / "gone.mp4")
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(ValueError, match=r"noise\.mp4 is not a video"):
        VideoReader(tmp_path / "noise.mp4")
    Image.fromarray(corner_image()).save(tmp_path / "still.png")
    with pytest.raises(ValueError, match=r"still\.png is not a video but a single picture"):
        VideoReader(tmp_path / "still.png")
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(ValueError, match=r"sound\.wav has no video stream"):
        VideoReader(tmp_path / "sound.wav")


def test_writer_refuses_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"end its name in \.mp4"):
        VideoWriter(tmp_path / "clip.gif", 25.0, (48, 80))
    with pytest.raises(ValueError, match="0 frames per second"):
        VideoWriter(tmp_path / "clip.mp4", 0.0, (48, 80))
    with pytest.raises(ValueError, match=r"frame 1 .* is 40 x 80"), VideoWriter(tmp_path / "clip.mp4", 25.0, (48, 80)) as writer:
        writer.write(corner_image())
        writer.write(corner_image(40))
    with pytest.raises(ValueError, match="no frame was written"), VideoWriter(tmp_path / "clip.mp4", 25.0, (48, 80)):
        pass
    assert not list(tmp_path.iterdir())


def test_real_videos_have_the_frames_that_their_list_says(shared_data):
    reader = VideoReader(shared_data / "real" / "videos" / "liveportrait_d0.mp4")
    assert (reader.size, reader.fps, reader.frame_count) == ((512, 512), 25.0, 78)
    assert sum(1 for _ in reader) == 78
