#!/usr/bin/env python3
"""Deletes renders in the bucket (params: render.store) that no version of the project needs any more.

usage: tools/prune_renders.py [--delete]     # without --delete it only lists them

Needed is what a part's description (part.json) names, in this workspace or in DVC's cache: run `dvc gc` first, with the options that say which versions
count, and this follows it. Versions that only another clone's cache knows are not seen, and neither is a run there: prune where everything that counts is
at hand, and while nobody else draws into the bucket.
"""
from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from flows.pipeline import workspace_lock  # noqa: E402
from serep.config import load_params  # noqa: E402
from serep.data.blobs import BlobStore  # noqa: E402
from serep.data.render_part import PART_FILE  # noqa: E402
from serep.training.lineage import cached_object, dvc_cache, folder_listing  # noqa: E402
from serep.training.tracking import find_project_root  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--delete", action="store_true")
    options = cli.parse_args(arguments)
    root = find_project_root(Path.cwd())
    params = load_params(root)
    if params.render.store is None:
        cli.exit(2, "render.store is not set: the renders lie in the parts' folders, where `dvc gc` sees to them\n")
    with workspace_lock(root, "tools/prune_renders.py", print, wait_s=0):
        kept = {url.rstrip("/") for url in needed(root, root / params.paths.renders)}
        total = 0
        for place in places(BlobStore(params.render.store)):
            if place.place.rstrip("/") in kept:
                continue
            size = sum(place.sizes().values())
            total += size
            if options.delete:
                place.clear()
            print(f"{'deleted' if options.delete else 'not needed'}: {place.place} ({size / 1e6:.1f} MB)", flush=True)
    print(f"{total / 1e6:.1f} MB {'deleted' if options.delete else 'could be deleted (--delete)'}, {len(kept)} places needed")
    return 0


def places(store: BlobStore) -> Iterator[BlobStore]:
    """Of all parts and plans."""
    for part in store.children():
        for plan in store.child(part).children():
            yield store.child(part).child(plan)


def needed(root: Path, renders: Path) -> Iterator[str]:
    """URLs that parts name, those in the workspace and those in DVC's cache."""
    cache = dvc_cache(root)
    listings = [folder_listing(file) for file in sorted(cache.glob("files/md5/*/*.dir"))]
    cached = {listing[PART_FILE] for listing in listings if PART_FILE in listing}
    for file in (*renders.glob(f"*/{PART_FILE}"), *(cached_object(cache, md5) for md5 in sorted(cached))):
        if file.is_file() and (url := json.loads(file.read_text()).get("url")):
            yield url


if __name__ == "__main__":
    sys.exit(main())
