"""Which released versions are in use: the aliases `challenger` and `champion` of both models, moved together, and the way back.

The order of champions is kept as one tag of the capture model, written before the aliases move: what a killed release left half done is finished
by the next one.
"""
from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from serep.training.tracking import HOW_TO_RELEASE, open_store, released_files, store_root

SEMANTIC, CAPTURE = "serep-semantic", "serep-capture"
CHAMPION, CHALLENGER = "champion", "challenger"
HISTORY, TAKEN_BACK = "champions", "taken_back"
KEPT = 50  # champions remembered: MLflow's tags end at 5,000 characters
Versions = dict[str, int]  # by model


@contextmanager
def release_lock(root: Path, *, wait_s: float = 60.0) -> Iterator[None]:
    """Held by whoever moves aliases of this project's registry; the system frees it when its holder dies."""
    file = store_root(root) / "mlflow.db.release.lock"
    try:
        with FileLock(file, timeout=wait_s):
            yield
    except Timeout:
        raise RuntimeError(f"another release of this project has been running for {wait_s:g} s (it holds {file}). Wait for its end, then run this again") from None


def champions(client: Any) -> Versions:
    """Version of each model that is champion; empty before the first release."""
    return {model.name: int(model.aliases[CHAMPION]) for model in _models(client) if CHAMPION in model.aliases}


def promote(client: Any, versions: Mapping[str, int]) -> None:
    """Makes these versions champions, from now on the last of the history."""
    past = _history(client)
    if not past or past[-1] != dict(versions):
        past.append(dict(versions))
    _move(client, past)


def finish_move(client: Any) -> None:
    """Sets the aliases that a killed release or rollback was about to set."""
    past, settled = _stored(client)
    if past and not settled:
        _move(client, past)


def roll_back(root: Path) -> tuple[Versions, Versions]:
    """Brings the champions before the present ones back; both. The versions left are marked, so that no later release promotes them unasked."""
    with release_lock(root):
        client, _ = open_store(root)
        finish_move(client)
        past = _history(client)
        if not past:
            raise FileNotFoundError(f"nothing to roll back: no model has been released. {HOW_TO_RELEASE}")
        if len(past) < 2:
            raise FileNotFoundError(f"nothing to roll back to: {_told(past[-1])} is the only champion there has been. Release a better model instead")
        now, before = past[-1], past[-2]
        for name, version in before.items():
            released_files(client, name, version, root)  # a champion must load
        for name, version in now.items():
            if before.get(name) != version:
                client.set_model_version_tag(name, str(version), TAKEN_BACK, time.strftime("%Y-%m-%d %H:%M:%S"))
        _move(client, past[:-1])
        return now, before


def refuse_taken_back(client: Any, versions: Mapping[str, int], *, again: bool) -> None:
    """ValueError when one of the versions was rolled back, unless `again`, which forgets that."""
    for name, version in versions.items():
        if when := client.get_model_version(name, str(version)).tags.get(TAKEN_BACK):
            if not again:
                raise ValueError(f"not promoted: version {version} of {name} was rolled back on {when}. To promote it nevertheless: python -m flows.release --again")
            client.delete_model_version_tag(name, str(version), TAKEN_BACK)


def _history(client: Any) -> list[Versions]:
    """Champions, oldest first; ends with what the aliases say, since somebody may have set them by hand."""
    past, now = _stored(client)[0], champions(client)
    if now and (not past or past[-1] != now):
        past.append(now)
    return past


def _stored(client: Any) -> tuple[list[Versions], bool]:
    tags = next((model.tags for model in _models(client) if model.name == CAPTURE), {})
    stored = json.loads(tags.get(HISTORY, '{"past": [], "settled": true}'))
    return stored["past"], stored["settled"]


def _move(client: Any, past: list[Versions]) -> None:
    for settled in (False, True):
        client.set_registered_model_tag(CAPTURE, HISTORY, json.dumps({"past": past[-KEPT:], "settled": settled}))
        if not settled:
            for name, version in past[-1].items():
                client.set_registered_model_alias(name, CHAMPION, str(version))


def _models(client: Any) -> list[Any]:
    return [model for model in client.search_registered_models() if model.name in (SEMANTIC, CAPTURE)]


def _told(versions: Versions) -> str:
    return ", ".join(f"{name} version {version}" for name, version in versions.items())
