"""The chain behind a released model: version, run, stages, data, source files and licences, out of what its release stored; and its check, byte by byte."""
from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from serep.training.lineage import Finding, Record, Shelves, Step, folder_md5, lineage
from serep.training.release import folder_digest, stored_document
from serep.training.tracking import HOW_TO_RELEASE, find_version, released_files


@dataclass(frozen=True)
class Trace:
    """What the registry knows of one version. `sources` has what is known of a source file (source, origin, licence), by its path."""

    name: str
    version: int
    folder: Path
    tags: Mapping[str, str]
    run: str
    released: str
    lock: str
    steps: tuple[Step, ...]
    sources: Mapping[str, Mapping[str, str]]

    @property
    def model(self) -> Record:
        """The model's folder as the stage made it."""
        return next(record for step in self.steps for record in step.made if record.path == self.tags["made_from"])


def trace_model(uri: str, *, root: Path) -> Trace:
    """The chain of `models:/<name>@<alias>` or `models:/<name>/<version>`; FileNotFoundError or ValueError when there is none to be told."""
    client, name, number = find_version(uri, root=root)
    version = client.get_model_version(name, str(number))
    if "made_from" not in version.tags:
        raise ValueError(f"version {number} of {name} was released without the record of its origin. Release it anew: {HOW_TO_RELEASE}")
    lock, sources = (stored_document(client, version.run_id, document, root) for document in ("dvc.lock", "sources.json"))
    return Trace(
        name, number, released_files(client, name, number, root), version.tags, version.run_id,
        time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(version.creation_timestamp / 1000)), lock,
        tuple(lineage(yaml.safe_load(lock) or {}, version.tags["made_from"])), json.loads(sources),
    )


def verify(trace: Trace, shelves: Shelves) -> Iterator[Finding]:
    """Everything in the chain recomputed: the registered files, dvc.lock, and all that the stages made and read."""
    made = folder_md5(trace.folder)
    yield _compared(Record("registered files, sha256", trace.tags["files_sha256"]), folder_digest(trace.folder), trace.folder)
    yield _compared(Record(f"registered files, as {trace.model.path}", trace.model.md5), made, trace.folder)
    yield _compared(Record("dvc.lock, sha256", trace.tags.get("dvc_lock", "")), hashlib.sha256(trace.lock.encode()).hexdigest(), f"run {trace.run}")
    for finding in shelves.verify(list(trace.steps)):
        # The registry keeps the model's own bytes, even where the cache has been swept.
        held = finding.record == trace.model and finding.state == "absent" and made == trace.model.md5
        yield Finding(finding.record, "ok", "registry") if held else finding


def _compared(record: Record, found: str, place: Any) -> Finding:
    return Finding(record, "ok" if found == record.md5 else "changed", str(place))
