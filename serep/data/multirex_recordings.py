"""Who was filmed how in the MultiREX benchmark, as its published assets say it."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serep.data.plain_data import read_pickle

METADATA, BOXES = "id_mesh_weights_metadata_flame.pickle", "video_bbox_mapping.pickle"
MULTIFACE_VERTICES = 7306


@dataclass(frozen=True)
class Recording:
    """One person's performance, filmed by several cameras at once; `frames` is its published length (None when the assets do not say).

    `sequence` is `<capture>#images#<expression>`, a camera is `#<number>`, and a video is named by both.
    """

    identity: str
    sequence: str
    cameras: tuple[str, ...]
    neutral_name: str
    frames: int | None

    @property
    def videos(self) -> tuple[str, ...]:
        return tuple(f"{self.sequence}{camera}" for camera in self.cameras)

    @property
    def expression(self) -> str:
        return self.sequence.rpartition("#")[2]


def read_recordings(assets: Path) -> tuple[Recording, ...]:
    """Who performed what before which cameras, in the official order; cameras sorted. The pickles are read as plain data."""
    path = assets / METADATA
    if not path.is_file():
        raise FileNotFoundError(f"no {METADATA} in {assets}: give the `assets` folder of a MultiREX checkout (serep fetch multirex gets it)")
    try:
        rows = [(str(identity), str(row["gt_sequence_name"]).removesuffix(".npy"), tuple(sorted(map(str, row["cameras"]))), str(row["id_frame"]))
                for identity, row in read_pickle(path).items()]  # fmt: skip
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} does not describe the recordings ({error!r}): fetch the assets again") from None
    lengths = {name: len(boxes) for name, boxes in read_pickle(assets / BOXES).items()} if (assets / BOXES).is_file() else {}
    return tuple(Recording(identity, sequence, cameras, neutral, lengths.get(f"{sequence}{cameras[0]}.mp4")) for identity, sequence, cameras, neutral in rows)
