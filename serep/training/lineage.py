"""Where a released model comes from: the stages that dvc.lock records, back to the files that no stage made, and whether their bytes still have these hashes."""
from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

CHUNK = 1 << 20


@dataclass(frozen=True)
class Record:
    """A file or folder as dvc.lock has it; the md5 of a folder ends in `.dir`."""

    path: str
    md5: str


@dataclass(frozen=True)
class Step:
    """One stage: what it made, what it read of other stages, which files no stage made, and its code and values."""

    stage: str
    command: str
    made: tuple[Record, ...]
    read: tuple[Record, ...]
    sources: tuple[Record, ...]
    code: tuple[Record, ...]
    values_sha256: str


@dataclass(frozen=True)
class Finding:
    """What became of one record: `ok` (same bytes), `changed`, or `absent` (nowhere here to be read)."""

    record: Record
    state: Literal["ok", "changed", "absent"]
    place: str


def lineage(lock: Mapping[str, Any], path: str) -> list[Step]:
    """The stages behind the output at `path`, nearest first, each once; `lock` is the content of dvc.lock."""
    stages = lock.get("stages", {})
    makers = {out["path"]: name for name, stage in stages.items() for out in stage.get("outs", [])}
    if path not in makers:
        raise ValueError(f"dvc.lock has no output {path!r} (found: {', '.join(makers) or 'none'}): it is of another run. Release the model anew")
    steps, waiting = {}, [makers[path]]
    while waiting:
        name = waiting.pop(0)
        if name in steps:
            continue
        stage = stages[name]
        read, sources, code = [], [], []
        for dep in stage.get("deps", []):
            record, behind = _record(dep), [maker for out, maker in makers.items() if _overlap(out, dep["path"]) and maker != name]
            waiting += behind
            (read if behind else code if dep["path"].endswith((".py", ".js")) else sources).append(record)
        steps[name] = Step(name, str(stage["cmd"]), tuple(map(_record, stage.get("outs", []))), tuple(read), tuple(sources), tuple(code),
                           hashlib.sha256(json.dumps(stage.get("params", {}), sort_keys=True).encode()).hexdigest())
    return list(steps.values())


def differences(then: Mapping[str, Any], now: Mapping[str, Any], stage: str, *, apart: Collection[str]) -> list[str]:
    """What `stage` was given otherwise in one dvc.lock than in the other: paths of data, keys of values, and `its code`.

    The paths and keys named by `apart`, and all below them, do not count.
    """
    one, other = (lock.get("stages", {}).get(stage) for lock in (then, now))
    if one is None or other is None:
        return [] if one == other else ["whether it ran"]
    old, new = _given(one), _given(other)
    changed = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name) and not any(PurePosixPath(name).is_relative_to(path) for path in apart)]
    return list(dict.fromkeys("its code" if name.endswith((".py", ".js")) else name for name in changed))


def folder_md5(folder: Path) -> str:
    """DVC's hash of a folder."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return _manifest_md5({file.relative_to(folder).as_posix(): file_md5(file) for file in files})


def file_md5(file: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@dataclass(frozen=True)
class Shelves:
    """Where the bytes of a run may lie: DVC's cache, the project's folder, and its git repository at the commit of the release."""

    cache: Path
    root: Path
    commit: str

    def verify(self, steps: list[Step]) -> Iterator[Finding]:
        """One finding for everything that the steps made or read, from the bytes themselves."""
        made = {record.path: record for step in steps for record in step.made}
        records = {record: None for step in steps for record in (*step.made, *step.sources, *step.code)}
        for record in records:
            yield self._stored(record) if record.path in made else self._source(record)
        for step in steps:
            for record in step.read:
                if record.path not in made:
                    yield self._joined(record, made)
                elif made[record.path].md5 != record.md5:
                    yield Finding(record, "changed", f"{step.stage} read other bytes than the stage before it made ({made[record.path].md5})")

    def _object(self, md5: str) -> Path:
        return cached_object(self.cache, md5)

    def _manifest(self, record: Record) -> dict[str, str]:
        return folder_listing(self._object(record.md5))

    def _stored(self, record: Record) -> Finding:
        """An output: in the cache, or, where DVC keeps it outside of that (metrics), beside the sources."""
        stored = self._object(record.md5)
        if not stored.is_file():
            return self._source(record)
        if file_md5(stored) != record.md5.removesuffix(".dir"):
            return Finding(record, "changed", str(stored))
        if record.md5.endswith(".dir"):
            for name, md5 in self._manifest(record).items():
                if not self._object(md5).is_file():
                    return Finding(record, "absent", f"{name} is not in the cache")
                if file_md5(self._object(md5)) != md5:
                    return Finding(record, "changed", f"{name} ({self._object(md5)})")
        return Finding(record, "ok", "cache")

    def _source(self, record: Record) -> Finding:
        place = self.root / record.path
        if place.exists() and (folder_md5(place) if place.is_dir() else file_md5(place)) == record.md5:
            return Finding(record, "ok", "folder")
        shown = subprocess.run(["git", "show", f"{self.commit}:{record.path}"], cwd=self.root, capture_output=True, check=False) if self.commit else None
        if shown is None or shown.returncode != 0 or record.md5.endswith(".dir"):
            return Finding(record, "changed", f"{place}") if place.exists() else Finding(record, "absent", f"{place}")
        same = hashlib.md5(shown.stdout, usedforsecurity=False).hexdigest() == record.md5
        return Finding(record, "ok" if same else "changed", f"git {self.commit[:12]}")

    def _joined(self, record: Record, made: Mapping[str, Record]) -> Finding:
        """A folder that several stages fill: its hash follows from theirs."""
        below = [part for path, part in made.items() if _overlap(path, record.path)]
        entries: dict[str, str] = {}
        for part in below:
            inside = PurePosixPath(part.path).relative_to(record.path)
            if not part.md5.endswith(".dir"):
                entries[inside.as_posix()] = part.md5
            elif self._object(part.md5).is_file():
                entries |= {(inside / name).as_posix(): md5 for name, md5 in self._manifest(part).items()}
            else:
                return Finding(record, "absent", f"{part.path} is not in the cache")
        return Finding(record, "ok" if _manifest_md5(entries) == record.md5 else "changed", "its parts")


def dvc_cache(root: Path) -> Path:
    """The cache of the DVC project at `root`, wherever its settings put it. RuntimeError where there is no such project."""
    answer = subprocess.run([sys.executable, "-m", "dvc", "cache", "dir"], cwd=root, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise RuntimeError(f"{root} is no DVC project:\n{answer.stderr.strip()}")
    return (root / answer.stdout.strip()).resolve()


def cached_object(cache: Path, md5: str) -> Path:
    """Where DVC's cache keeps these bytes; of a folder (`.dir`), its listing."""
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def folder_listing(listing: Path) -> dict[str, str]:
    """Files of a folder and their md5, from its listing in DVC's cache."""
    return {entry["relpath"]: entry["md5"] for entry in json.loads(listing.read_bytes())}


def _manifest_md5(files: Mapping[str, str]) -> str:
    entries = [{"md5": md5, "relpath": name} for name, md5 in sorted(files.items())]
    return hashlib.md5(json.dumps(entries, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def _given(stage: Mapping[str, Any]) -> dict[str, Any]:
    """Hash of each path and value of each key that the stage depends on."""
    values = {key: value for file in stage.get("params", {}).values() for key, value in file.items()}
    return values | {dep["path"]: dep.get("md5", "") for dep in stage.get("deps", [])}


def _record(entry: Mapping[str, Any]) -> Record:
    return Record(entry["path"], entry.get("md5", ""))


def _overlap(one: str, other: str) -> bool:
    return PurePosixPath(one).is_relative_to(other) or PurePosixPath(other).is_relative_to(one)
