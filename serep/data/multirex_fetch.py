"""Getting the MultiREX benchmark: its assets from their repository, frames and meshes of 8 people from Multiface, converted as the official scripts do.

Each archive is fetched (resumed, checked), converted and deleted before the next, so the disk holds one at a time. What is already converted is
passed over, so the same command goes on after any interruption.
"""
from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

from serep.data.download import Line, download, fetch_text, file_checksum
from serep.data.multirex_convert import gamma_table, write_meshes, write_videos
from serep.data.multirex_files import ASSET_SHA256, ASSETS_URL, MULTIFACE_URL
from serep.data.multirex_recordings import Recording, read_recordings
from serep.files import write_file

logger = logging.getLogger(__name__)

LICENCES = """\
MultiREX, (c) 2025 Ubisoft Entertainment: its README says CC BY-NC 4.0, its licence file CC BY-NC-ND 4.0; go by the stricter one.
Multiface, (c) Meta Platforms: CC BY-NC 4.0.
Both are for research and not for commerce. What this command makes of them (videos, meshes), and what scoring draws with them, is adapted
material: keep it to yourself. Cite Josi et al. 2024 (arXiv 2412.14371) and Wuu et al. 2022 (arXiv 2207.11243).
The frames are some 200 GB of downloads (one archive at a time, most of a day), the meshes some 20 GB: estimates from the sizes Multiface states."""

TRUTH, VIDEOS, UNWRAPPED, DOWNLOADS, RECEIPT = "multiface_gt", "videos_gamma_corrected", "videos_unwrapped", "downloads", "fetched.json"
Report = Callable[[str, int, int | None], None]  # file, bytes here, bytes of it all


def fetch_benchmark(
    out: Path,
    *,
    assets: Path | None,
    videos: bool,
    unwrapped: bool,
    people: Sequence[str],
    line: Line,
    on_bytes: Report = lambda name, have, whole: None,
    assets_url: str = ASSETS_URL,
    multiface_url: str = MULTIFACE_URL,
    asset_checksums: dict[str, str] = ASSET_SHA256,
) -> Iterator[str]:
    """A line of text as each thing is done. `assets` None downloads them to `out/assets`; `people` empty means all.

    Meshes come first: with them alone predictions can be scored.
    """
    if assets is None:
        assets = out / "assets"
        yield _fetch_assets(assets, assets_url, asset_checksums, line, on_bytes)
    recordings = read_recordings(assets)
    unknown = sorted(set(people) - {one.identity for one in recordings})
    if unknown:
        raise ValueError(f"--person {', '.join(unknown)} is not of the benchmark: {', '.join(one.identity for one in recordings)}")
    wanted = [one for one in recordings if not people or one.identity in people]
    store = _Store(out, multiface_url, line, on_bytes)
    for one in wanted:
        yield store.meshes(one)
    if videos:
        for one in wanted:
            for camera in one.cameras:
                yield store.video(one, camera, unwrapped=unwrapped)
    write_file(out / "LICENCES.txt", (LICENCES + "\n").encode())


def _fetch_assets(folder: Path, url: str, checksums: dict[str, str], line: Line, on_bytes: Report) -> str:
    fetched = 0
    for name, digest in checksums.items():
        path = folder / name
        if path.is_file() and file_checksum(path, "sha256") == f"sha256:{digest}":
            continue
        download(url + name, path, checksum=f"sha256:{digest}", line=line, on_bytes=lambda have, whole, name=name: on_bytes(name, have, whole))
        fetched += 1
    return f"{folder}: {fetched} of {len(checksums)} files fetched, all checked"


class _Store:
    """One output folder and the server that fills it; each person's listing is asked for once."""

    def __init__(self, out: Path, url: str, line: Line, on_bytes: Report) -> None:
        self._out, self._url, self._line, self._on_bytes = out, url, line, on_bytes
        self._listings: dict[str, tuple[dict[str, str], dict[str, str]]] = {}

    def meshes(self, one: Recording) -> str:
        path = self._out / TRUTH / f"{one.sequence}.npy"
        if path.is_file():
            return f"{path.name}: already here"
        archive = self._archive(one.identity, f"tracked_mesh--{one.expression}.tar")
        frames = self._converted(archive, lambda: write_meshes(archive, path, frames=one.frames))
        self._note(path, archive.name, one.identity, frames)
        return f"{path}: {frames} meshes"

    def video(self, one: Recording, camera: str, *, unwrapped: bool) -> str:
        video = f"{one.sequence}{camera}"
        places = {self._out / VIDEOS / f"{video}.mp4": gamma_table(wrap=True)}
        if unwrapped:
            places[self._out / UNWRAPPED / f"{video}.mp4"] = gamma_table(wrap=False)
        missing = {path: table for path, table in places.items() if not path.is_file()}
        if not missing:
            return f"{video}.mp4: already here"
        archive = self._archive(one.identity, f"images--{one.expression}_cam{camera.lstrip('#')}.tar")
        frames = self._converted(archive, lambda: write_videos(archive, video, frames=one.frames, outputs=missing))
        for path in missing:
            self._note(path, archive.name, one.identity, frames)
        return f"{', '.join(str(path) for path in missing)}: {frames} frames"

    def _archive(self, identity: str, name: str) -> Path:
        """The checked archive on the disk, fetched if need be."""
        links, checksums = self._listing(identity)
        if name not in links:
            raise FileNotFoundError(f"{self._url}{identity}/index.html lists no {name} ({len(links)} files): the dataset may have moved or changed")
        path = self._out / DOWNLOADS / f"{identity}--{name}"
        checksum = checksums.get(name)
        if checksum is None:
            logger.warning("%s: the server publishes no checksum of it; its frames are counted instead", name)
        if not path.is_file():  # a whole archive is there only where a conversion was interrupted; it was checked when it got its name
            download(links[name], path, checksum=checksum, line=self._line, on_bytes=lambda have, whole: self._on_bytes(path.name, have, whole))
        return path

    def _converted(self, archive: Path, convert: Callable[[], int]) -> int:
        """The archive is deleted once it is converted, and also when it is not what it should be, so that the next run fetches it again."""
        try:
            frames = convert()
        except ValueError:
            archive.unlink()
            raise
        archive.unlink()
        return frames

    def _listing(self, identity: str) -> tuple[dict[str, str], dict[str, str]]:
        """(file name -> address, file name -> checksum) of one person."""
        if identity not in self._listings:
            page = f"{self._url}{identity}/index.html"
            reader = _Links()
            reader.feed(fetch_text(page, line=self._line))
            links = {link.rpartition("/")[2]: urljoin(page, link) for link in reader.links}
            listed = fetch_text(links.get("CHECKSUM", f"{self._url}{identity}/CHECKSUM"), line=self._line)
            self._listings[identity] = links, _checksums(listed)
        return self._listings[identity]

    def _note(self, path: Path, source: str, identity: str, frames: int) -> None:
        """What was made from what, for whoever finds the folder later."""
        receipt = self._out / RECEIPT
        notes = json.loads(receipt.read_text()) if receipt.is_file() else {}
        checksum = self._listing(identity)[1].get(source.partition("--")[2])
        notes[str(path.relative_to(self._out))] = {"source": f"{self._url}{identity}/{source.partition('--')[2]}", "checksum": checksum, "frames": frames}
        write_file(receipt, (json.dumps(notes, indent=1, sort_keys=True) + "\n").encode())


def _checksums(text: str) -> dict[str, str]:
    """md5sum's lines: a hash, then the name of a file, after a space or a star, maybe with a folder before it."""
    rows = [re.match(r"\s*([0-9a-fA-F]{32})\s+\*?(\S+)", row) for row in text.splitlines()]
    return {row[2].rpartition("/")[2]: f"md5:{row[1].lower()}" for row in rows if row}


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if tag == "a" and name == "href" and value]
