"""Multiface archives into what the benchmark reads, as its official scripts do it: frames into videos, tracked meshes into one array."""
from __future__ import annotations

import io
import tarfile
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation
from jaxtyping import Float, UInt8
from PIL import Image

from serep.data.multirex_recordings import MULTIFACE_VERTICES
from serep.files import partial_file

FPS = 30
GAMMA, BLACK, COLOUR_SCALE = 2.0, 3.0 / 255.0, (1.4, 1.1, 1.6)
MESH_BYTES = MULTIFACE_VERTICES * 3 * 4


def gamma_table(*, wrap: bool) -> UInt8[np.ndarray, "256 3"]:
    """The brightening of the official script, value by value and channel by channel (R, G, B).

    It scales red and blue beyond white and then keeps the low eight bits, so R from 238 and B from 209 come out dark. `wrap` does the same, to the
    bit: what was published was measured on such videos. Without it they stay white.
    """
    linear = np.arange(256, dtype=np.float32)[:, None] / np.float32(255.0) * np.array(COLOUR_SCALE) / 1.1
    lifted = np.clip(1.0 / (1.0 - BLACK) * 0.95 * np.clip(linear - BLACK, 0, 2), 0, None) ** (1.0 / GAMMA) - 15.0 / 255.0
    values = (np.clip(lifted, 0, 2) * 255).astype(np.int64)
    return (values % 256 if wrap else np.minimum(values, 255)).astype(np.uint8)


def brighten(image: UInt8[np.ndarray, "H W 3"], table: UInt8[np.ndarray, "256 3"]) -> UInt8[np.ndarray, "H W 3"]:
    return np.stack([table[image[..., channel], channel] for channel in range(3)], axis=-1)


def write_videos(archive: Path, video: str, *, frames: int | None, outputs: dict[Path, UInt8[np.ndarray, "256 3"]]) -> int:
    """Each output is the archive's frames, in the order of their names, through its own table; the number of frames comes back.

    H.264, yuv420p, 30 frames a second, x264's own settings (medium, crf 23), as the official script's ffmpeg call leaves them; the bytes depend on
    the version of x264. ValueError naming the archive when it holds another video or another number of frames.
    """
    with _open(archive) as tar:
        members = _members(tar, archive, ".png")
        own = {"#".join(Path(member.name).parent.parts) for member in members}
        if own != {video}:
            raise ValueError(f"{archive} holds the frames of {', '.join(sorted(own))}, expected {video}: fetch it again")
        _check_count(archive, len(members), frames)
        writers = [(_VideoFile(path), table) for path, table in outputs.items()]
        try:
            for member in members:
                image = _image(tar, member, archive)
                for writer, table in writers:
                    writer.write(brighten(image, table))
            for writer, _ in writers:
                writer.finish()
        finally:
            for writer, _ in writers:
                writer.discard()
    return len(members)


def write_meshes(archive: Path, path: Path, *, frames: int | None) -> int:
    """(T, 7306, 3) float32 mm out of the archive's `.bin` meshes, in the order of their names; T comes back."""
    with _open(archive) as tar:
        members = _members(tar, archive, ".bin")
        _check_count(archive, len(members), frames)
        with partial_file(path) as partial, partial.open("wb") as stream:
            np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (len(members), MULTIFACE_VERTICES, 3)})
            for member in members:
                content = _content(tar, member)
                if len(content) != MESH_BYTES:
                    raise ValueError(f"{archive}: {member.name} has {len(content)} bytes, a Multiface mesh has {MESH_BYTES}: fetch it again")
                stream.write(_mesh(content, archive, member).tobytes())
    return len(members)


def _mesh(content: bytes, archive: Path, member: tarfile.TarInfo) -> Float[np.ndarray, "V 3"]:
    vertices = np.frombuffer(content, "<f4").reshape(MULTIFACE_VERTICES, 3)
    if not np.isfinite(vertices).all():
        raise ValueError(f"{archive}: {member.name} has NaN or infinite vertices: fetch it again")
    return vertices


def _open(archive: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(archive, "r:")
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{archive} is no readable archive ({error}): fetch it again") from None


def _members(tar: tarfile.TarFile, archive: Path, suffix: str) -> list[tarfile.TarInfo]:
    """Files of one kind, sorted by their full names. Nothing is unpacked to where a name says."""
    try:
        members = sorted((one for one in tar.getmembers() if one.isfile() and one.name.endswith(suffix)), key=lambda one: one.name)
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{archive} is cut short ({error}): fetch it again") from None
    if not members:
        raise ValueError(f"{archive} holds no {suffix} files: fetch it again")
    return members


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    assert stream is not None  # of a file, tarfile always gives one
    return stream.read()


def _image(tar: tarfile.TarFile, member: tarfile.TarInfo, archive: Path) -> UInt8[np.ndarray, "H W 3"]:
    try:
        image = np.array(Image.open(io.BytesIO(_content(tar, member))))
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{archive}: {member.name} cannot be read ({error}): fetch it again") from None
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"{archive}: {member.name} is {image.dtype} {image.shape}, needs 8-bit RGB")
    return image


def _check_count(archive: Path, found: int, expected: int | None) -> None:
    if expected is not None and found != expected:
        raise ValueError(f"{archive} has {found} frames, the benchmark's assets say {expected}: fetch it again")


class _VideoFile:
    """One H.264 file that gets its name when it is finished."""

    def __init__(self, path: Path) -> None:
        self._path, self._partial = path, path.with_name(path.name + ".partial")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(str(self._partial), "w", format="mp4")
        self._stream = self._container.add_stream("libx264", rate=FPS, options={"crf": "23", "preset": "medium"})
        self._stream.pix_fmt = "yuv420p"
        self._count = 0

    def write(self, image: UInt8[np.ndarray, "H W 3"]) -> None:
        if self._count == 0:
            self._stream.height, self._stream.width = image.shape[:2]
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(format="yuv420p", interpolation=Interpolation.BICUBIC)
        frame.pts = self._count
        self._container.mux(self._stream.encode(frame))
        self._count += 1

    def finish(self) -> None:
        self._container.mux(self._stream.encode())
        self._container.close()
        self._partial.replace(self._path)

    def discard(self) -> None:
        """Leaves no half of a file; does nothing after `finish`."""
        if self._partial.is_file():
            self._container.close()
            self._partial.unlink()


