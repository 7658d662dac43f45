"""Video files in and out: frames as (H, W, 3) uint8 RGB, upright, in display order."""
from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from jaxtyping import Int, UInt8

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
NOT_VIDEO_FORMATS = ("image2", "tty")  # FFmpeg calls single pictures and text files video too
FALLBACK_FPS = Fraction(25)
BT709 = 1  # the code of BT.709 in H.264 and FFmpeg, for matrix, primaries and transfer alike
LIMITED_RANGE = 1
MIN_FPS, MAX_FPS = Fraction(1), Fraction(300)  # a header's rate outside of these is no camera's
RATE_PACKETS = 120  # from whose time stamps the rate is taken then
TIME_TOLERANCE = 1.5  # frames by which a time stamp may differ from the frame's place: cameras are no clocks
LONGEST_PAUSE_S = 10.0  # a longer step between time stamps is a fault of the file and not a pause


class VideoReader:
    """The frames of one video file, at a constant rate; each iteration starts at the first frame again."""

    def __init__(self, path: Path) -> None:
        """ValueError naming the file when it is not a video, FileNotFoundError when it is absent."""
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"no video at {self.path}")
        with self._open() as container:
            stream = container.streams.video[0]
            rate = _frame_rate(container, stream)
            self.fps = float(rate)
            self.frame_count = _frame_count(container, stream, rate)  # an estimate: what the header promises; 0 when it says nothing
        frames = self._frames(warn=False)
        first = next(frames, None)
        frames.close()
        if first is None:
            raise ValueError(f"{self.path} has a video header but not one frame that can be decoded; copy or export it again")
        self.size = first.shape[:2]  # (height, width), upright

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        return self._frames(warn=True)

    def _open(self) -> av.container.InputContainer:
        try:
            container = av.open(str(self.path))
        except (av.FFmpegError, ValueError) as error:
            raise ValueError(f"{self.path} is not a video that can be read, or its end is missing ({error}); "
                             "give an MP4, MOV, MKV or WebM file") from error
        name = container.format.name
        if name in NOT_VIDEO_FORMATS or name.endswith("_pipe"):
            container.close()
            raise ValueError(f"{self.path} is not a video but a single picture or text ({name}); give an MP4, MOV, MKV or WebM file")
        if not container.streams.video:
            container.close()
            raise ValueError(f"{self.path} has no video stream (format {name}); give an MP4, MOV, MKV or WebM file")
        return container

    def _frames(self, *, warn: bool) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        count, damaged, clock, reformatter = 0, 0, _Clock(self.fps), VideoReformatter()
        with self._open() as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets, None)
                except av.FFmpegError:
                    damaged += 1
                    break
                if packet is None:
                    break
                try:
                    frames = packet.decode()
                except av.FFmpegError:
                    damaged += 1
                    continue
                for frame in frames:
                    count += 1
                    repeats = clock.repeats(frame.time)
                    if repeats:
                        image = _upright_rgb(frame, reformatter)
                        yield from itertools.repeat(image, repeats)
        # Headers count frames that an edit list hides, and durations are rounded: a frame or two less is no damage.
        if warn and (damaged or count < 0.98 * self.frame_count - 2):
            logger.warning("%s is damaged or cut short: %d of %s frames could be read", self.path, count, self.frame_count or "an unknown number of")
        if warn and (clock.repeated or clock.left_out):
            logger.warning("%s has a varying frame rate: to keep its time at %.3f frames per second, %d frames are repeated and %d left out",
                           self.path, self.fps, clock.repeated, clock.left_out)


class _Clock:
    """Lays frames on a constant rate: says how often each is to be shown, so that time stamps and frame numbers stay within a frame and a half."""

    def __init__(self, fps: float) -> None:
        self._fps, self._start, self._shown = fps, None, 0
        self.repeated = self.left_out = 0

    def repeats(self, time: float | None) -> int:
        """0 for a frame that comes too early, more than 1 for one that comes too late. `time` is the frame's own, in s; None when it has none."""
        if time is not None:
            self._start = time if self._start is None else self._start
            late = (time - self._start) * self._fps - self._shown  # frames
            if abs(late) > LONGEST_PAUSE_S * self._fps:  # the time stamps start anew, as where recordings were joined
                self._start, late = time - self._shown / self._fps, 0.0
            if late <= -TIME_TOLERANCE:
                self.left_out += 1
                return 0
            if late >= TIME_TOLERANCE:
                self.repeated += round(late)
                self._shown += 1 + round(late)
                return 1 + round(late)
        self._shown += 1
        return 1


class VideoWriter:
    """Writes H.264, yuv420p, BT.709: what every player and browser shows. Use as a context manager; `path` appears when it ends without an error."""

    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        """`size` is (height, width) of the frames; an odd side is stored one pixel longer, its last row or column repeated."""
        self.path = Path(path)
        container = CONTAINERS.get(self.path.suffix.lower())
        if container is None:
            raise ValueError(f"cannot write a video named {self.path}; end its name in {', '.join(CONTAINERS)}")
        if not (fps > 0 and np.isfinite(fps)) or min(size) < 2:
            raise ValueError(f"cannot write a video of {fps} frames per second and {size[0]} x {size[1]} pixels to {self.path}")
        self.size = size
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._partial = self.path.with_name(self.path.name + ".partial")
        options = {"movflags": "+faststart"} if container != "matroska" else {}
        self._container = av.open(str(self._partial), "w", format=container, options=options)
        self._stream = self._container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": "18", "preset": "fast"})
        self._stream.height, self._stream.width = (side + side % 2 for side in size)
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED_RANGE
        self._count = 0

    def write(self, image: UInt8[np.ndarray, "H W 3"]) -> None:
        if image.shape[:2] != tuple(self.size):
            raise ValueError(f"frame {self._count} of {self.path} is {image.shape[0]} x {image.shape[1]}, "
                             f"the video {self.size[0]} x {self.size[1]} (height x width)")
        height, width = self.size
        even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
        frame.pts = self._count
        self._container.mux(self._stream.encode(frame))
        self._count += 1

    def close(self) -> None:
        """Ends the file and gives it its name; ValueError when no frame was written."""
        if self._count == 0:
            self.discard()
            raise ValueError(f"no frame was written to {self.path}")
        self._container.mux(self._stream.encode())
        self._container.close()
        self._partial.replace(self.path)

    def discard(self) -> None:
        """Leaves no file."""
        self._container.close()
        self._partial.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


def _frame_rate(container: av.container.InputContainer, stream: av.VideoStream) -> Fraction:
    """The header's, or that of the first time stamps where it is no rate of a camera: browsers record with a thousand."""
    rate = stream.average_rate or stream.guessed_rate
    if rate and MIN_FPS <= rate <= MAX_FPS:
        return rate
    packets = itertools.islice(container.demux(stream), RATE_PACKETS)
    times = sorted(packet.pts for packet in packets if packet.pts is not None)
    if len(times) > 1 and times[-1] > times[0] and stream.time_base:
        seen = Fraction(len(times) - 1, times[-1] - times[0]) / stream.time_base
        return max(MIN_FPS, min(MAX_FPS, seen))
    return FALLBACK_FPS


def _frame_count(container: av.container.InputContainer, stream: av.VideoStream, rate: Fraction) -> int:
    if stream.frames:
        return stream.frames
    if stream.duration:
        return int(stream.duration * stream.time_base * rate)
    return int(Fraction(container.duration, av.time_base) * rate) if container.duration else 0


def _upright_rgb(frame: av.VideoFrame, reformatter: VideoReformatter) -> UInt8[np.ndarray, "H W 3"]:
    """`reformatter` keeps its tables from one frame to the next."""
    matrices = [np.frombuffer(bytes(data), "<i4") for data in frame.side_data if data.type == SideDataType.DISPLAYMATRIX]
    image = reformatter.reformat(frame, format="rgb24").to_ndarray()
    return np.ascontiguousarray(_upright(image, matrices[0])) if matrices else image


def _upright(image: UInt8[np.ndarray, "H W 3"], matrix: Int[np.ndarray, " 9"]) -> UInt8[np.ndarray, "H2 W2 3"]:
    """Applies a display matrix (MP4 `tkhd`: shown x = a x + c y, shown y = b x + d y) to the nearest of the eight turns and mirrorings."""
    a, b, _, c, d = (int(value) for value in matrix[:5])
    if abs(a) >= abs(b):
        horizontal, vertical = a, d
    else:
        image, horizontal, vertical = image.transpose(1, 0, 2), c, b
    image = image[:, ::-1] if horizontal < 0 else image
    return image[::-1] if vertical < 0 else image
