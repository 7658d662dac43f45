"""What a face is: head models, their topology, regions and landmarks. A new source of heads is one file here and one line in SOURCES."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from serep.faces.folder import FolderHeads
from serep.faces.head_model import HeadModel, Subject, SubjectPlan
from serep.faces.ict import ICTHeads
from serep.faces.makehuman import BUILT_IN_HEADS, MakeHumanHeads
from serep.faces.topology import LANDMARK_IDS, PARTS, FaceTopology

__all__ = ["BUILT_IN_HEADS", "LANDMARK_IDS", "PARTS", "SOURCES", "FaceTopology", "HeadModel", "Subject", "SubjectPlan", "open_head_model"]

SOURCES: dict[str, Callable[..., HeadModel]] = {"makehuman": MakeHumanHeads, "ict": ICTHeads, "folder": FolderHeads}


def open_head_model(source: str, path: Path, **options: object) -> HeadModel:
    """The heads of a source at `path`; `options` are the reader's own.

    All take train_population, test_population and expression_transfer; a folder of scans also unit, up, front and held_out.
    """
    if source not in SOURCES:
        raise ValueError(f"no source of heads is called {source!r}; choose one of {', '.join(SOURCES)}")
    return SOURCES[source](Path(path), **options)
