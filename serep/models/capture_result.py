"""What a capture leaves: codes, meshes, head poses and landmarks of every frame, and its file."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from serep.files import write_file
from serep.models.store import npz_bytes

# Shapes of the arrays in the file, in the project's axis letters, with dtype.
LAYOUT: dict[str, tuple[tuple[str | int, ...], str]] = {
    "codes": (("T", "Z"), "float32"), "vertices": (("T", "V", 3), "float32"), "head_pose": (("T", 4, 4), "float32"), "landmark_ids": (("L",), "int32"),
    "landmarks": (("T", "L", 2), "float32"), "mesh_landmarks": (("T", "L", 3), "float32"), "boxes": (("T", 4), "float32"), "found": (("T",), "bool"),
    "fps": ((), "float64"),
}


@dataclass(frozen=True, eq=False)
class CaptureResult:
    """One row per frame. Frames without a face have `found` False, code zero (the neutral), and NaN landmarks, boxes and head pose."""

    codes: Float[np.ndarray, "T Z"]
    vertices: Float[np.ndarray, "T V 3"]
    """mm, without head motion."""
    head_pose: Float[np.ndarray, "T 4 4"]
    """Face -> camera, mm, OpenCV axes; the distance follows from an assumed field of view."""
    landmark_ids: Int[np.ndarray, " L"]
    landmarks: Float[np.ndarray, "T L 2"]
    """px of the frame."""
    mesh_landmarks: Float[np.ndarray, "T L 3"]
    """mm, on the posed target."""
    boxes: Float[np.ndarray, "T 4"]
    """x0 y0 x1 y1 px: the crop that the network saw."""
    found: Bool[np.ndarray, " T"]
    fps: float

    def save(self, path: Path) -> None:
        """Write an .npz with an array for each field; the same capture gives the same bytes."""
        write_file(path, npz_bytes({name: np.asarray(getattr(self, name), dtype) for name, (_, dtype) in LAYOUT.items()}))

    @staticmethod
    def load(path: Path) -> CaptureResult:
        """FileNotFoundError or ValueError, naming the file and the field, when it is not a capture."""
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no capture at {path}. Give a file that `serep capture` wrote")
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except (ValueError, OSError, EOFError) as error:
            raise ValueError(f"{path} cannot be read as .npz ({error}). Give a file that `serep capture` wrote") from error
        _check(arrays, path)
        return CaptureResult(**(arrays | {"fps": float(arrays["fps"])}))

    @staticmethod
    def join(parts: Sequence[CaptureResult]) -> CaptureResult:
        """The results of consecutive pieces of one video as one."""
        if not parts:
            raise ValueError("there is no capture to join. Give at least one part")
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name, (axes, _) in LAYOUT.items() if axes[:1] == ("T",)}
        return CaptureResult(**joined, landmark_ids=parts[0].landmark_ids, fps=parts[0].fps)


def _check(arrays: dict[str, np.ndarray], path: Path) -> None:
    missing, unknown = [name for name in LAYOUT if name not in arrays], [name for name in arrays if name not in LAYOUT]
    if missing or unknown:
        raise ValueError(f"{path} is not a capture: fields missing {missing}, unknown {unknown}. Give a file that `serep capture` wrote")
    sizes: dict[str, int] = {}
    for name, (axes, dtype) in LAYOUT.items():
        array = arrays[name]
        fits = str(array.dtype) == dtype and array.ndim == len(axes) and all(
            length == (axis if isinstance(axis, int) else sizes.setdefault(axis, length)) for axis, length in zip(axes, array.shape, strict=True))
        if not fits:
            expected = ", ".join(f"{axis} = {sizes[axis]}" if axis in sizes else str(axis) for axis in axes)
            raise ValueError(f"{path}: {name!r} is {array.dtype} {array.shape}, not {dtype} ({expected}). The file was changed or cut off; capture again")


assert set(LAYOUT) == {field.name for field in fields(CaptureResult)}
