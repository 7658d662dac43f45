"""Named files below one place, a folder or a URL of any fsspec file system: written whole or not at all, with errors that say what to do."""
from __future__ import annotations

import errno
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import fsspec

from serep.files import write_file

# Here an upload appears when it is complete. On any other file system it is written beside its place and renamed.
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss", "memory"}


@dataclass(frozen=True)
class BlobStore:
    """Files by name ("a/b/c"). Holds no connection, so it may be pickled and forked; credentials come from the environment or fsspec's own settings."""

    place: str  # a folder, or a URL

    def __post_init__(self) -> None:
        protocol = protocol_of(self.place)
        if protocol in ("file", "local"):
            object.__setattr__(self, "place", self.place.split("://", 1)[1])
        elif protocol:
            check_store_url(self.place)

    @property
    def folder(self) -> Path | None:
        """The folder on this machine; None for a URL."""
        return None if protocol_of(self.place) else Path(self.place)

    def child(self, name: str) -> BlobStore:
        return BlobStore(f"{self.place.rstrip('/')}/{name}")

    def where(self, name: str) -> str:
        """The file's place, for messages."""
        return f"{self.place.rstrip('/')}/{name}"

    def write(self, name: str, data: bytes) -> None:
        """The whole file, or none; OSError that says why."""
        with _explained(f"{self.where(name)} cannot be written"):
            if self.folder is not None:
                write_file(self.folder / name, data)
                return
            files, root = fsspec.core.url_to_fs(self.place)
            target = f"{root.rstrip('/')}/{name}"
            if protocol_of(self.place) in OBJECT_STORES:
                files.pipe_file(target, data)
                return
            files.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
            files.pipe_file(f"{target}.partial", data)
            files.mv(f"{target}.partial", target)

    def read(self, name: str, start: int | None = None, stop: int | None = None) -> bytes:
        """The file, or its bytes from start up to stop; FileNotFoundError without more to say."""
        with _explained(f"{self.where(name)} cannot be read"):
            if self.folder is not None:
                with (self.folder / name).open("rb") as stream:
                    stream.seek(start or 0)
                    return stream.read(-1 if stop is None else stop - (start or 0))
            files, root = fsspec.core.url_to_fs(self.place)
            return files.cat_file(f"{root.rstrip('/')}/{name}", start=start, end=stop)

    def sizes(self) -> dict[str, int]:
        """Bytes of every file, by name."""
        with _explained(f"{self.place} cannot be listed"):
            if self.folder is not None:
                return {file.relative_to(self.folder).as_posix(): file.stat().st_size for file in self.folder.rglob("*") if file.is_file()}
            files, root = fsspec.core.url_to_fs(self.place)
            files.invalidate_cache()
            prefix = root.strip("/") + "/"
            found = {path.lstrip("/"): entry for path, entry in files.find(root, detail=True).items() if entry["type"] == "file"}
            return {path.removeprefix(prefix): int(entry["size"]) for path, entry in found.items() if path.startswith(prefix)}

    def children(self) -> list[str]:
        """Names of the places directly below, such as those of other plans."""
        with _explained(f"{self.place} cannot be listed"):
            if self.folder is not None:
                return sorted(path.name for path in self.folder.iterdir() if path.is_dir()) if self.folder.is_dir() else []
            files, root = fsspec.core.url_to_fs(self.place)
            files.invalidate_cache()
            try:
                entries = files.ls(root, detail=True)
            except FileNotFoundError:
                return []
            return sorted(entry["name"].rstrip("/").rsplit("/", 1)[1] for entry in entries if entry["type"] == "directory")

    def delete(self, name: str) -> None:
        with _explained(f"{self.where(name)} cannot be deleted"):
            if self.folder is not None:
                (self.folder / name).unlink(missing_ok=True)
                return
            files, root = fsspec.core.url_to_fs(self.place)
            files.rm_file(f"{root.rstrip('/')}/{name}")

    def clear(self) -> None:
        """Deletes everything here."""
        with _explained(f"{self.place} cannot be deleted"):
            if self.folder is not None:
                if self.folder.exists():
                    shutil.rmtree(self.folder)
                return
            names = list(self.sizes())
            if names:
                files, root = fsspec.core.url_to_fs(self.place)
                files.rm([f"{root.rstrip('/')}/{name}" for name in names])


def protocol_of(place: str) -> str:
    """The part before "://"; empty for a folder."""
    return place.split("://", 1)[0].lower() if "://" in place else ""


def check_store_url(url: str) -> None:
    """ValueError for what is no URL of a file system that can be used here, or has credentials in it."""
    if not protocol_of(url):
        raise ValueError(f"the store {url!r} is not a URL; write s3://bucket/prefix, file:///folder or another URL that fsspec knows (params: render.store)")
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query:
        raise ValueError(f"the store's URL ({parts.scheme}://…) holds credentials or a query; they would end up in params.yaml and in the data. Leave them to "
                         "the environment (for S3: AWS_ACCESS_KEY_ID and its like, or AWS_PROFILE)")
    try:
        fsspec.get_filesystem_class(parts.scheme)
    except ValueError as error:
        raise ValueError(f"the store {url!r}: fsspec knows no {parts.scheme!r}; it knows s3, gs, abfs, file and others (params: render.store)") from error
    except ImportError as error:
        raise ValueError(f"the store {url!r} needs a package that is not installed: {error}") from error


@contextmanager
def _explained(problem: str) -> Iterator[None]:
    """Errors of any file system as OSError of the same kind, with what to do about it."""
    foreign = sys.modules.get("botocore.exceptions")  # its errors are no OSError, and only s3fs brings them
    try:
        yield
    except PermissionError as error:
        raise PermissionError(f"{problem}: permission denied ({error}). Give this account the right, or use another store; credentials of an object "
                              "store come from the environment") from error
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{problem}: {error}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(error.errno, f"{problem}: no space left. Free some, or use another store; what is finished is kept, so run again") from error
        raise OSError(error.errno, f"{problem}: {error}") from error
    except getattr(foreign, "BotoCoreError", ()) as error:
        raise OSError(errno.EIO, f"{problem}: {error}. Check the store's address (AWS_ENDPOINT_URL) and credentials in the environment") from error
