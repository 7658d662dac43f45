"""Numba functions whose machine code is kept in the user's cache folder, also where the package folder is read-only."""
from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import no_type_check

import numba
import numba.core.config


def cache_folder() -> Path | None:
    """A folder for compiled code that this user alone may write, or None: then each process compiles again (seconds)."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "serep" / "numba"
    shared = Path(tempfile.gettempdir()) / f"serep-numba-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    for folder in (home, shared):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        # The cache holds code, so a folder that somebody else made (a shared temporary directory) is refused.
        owned = not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
        if owned and os.access(folder, os.W_OK):
            return folder
    return None


@no_type_check
def compiled(function: Callable) -> Callable:
    """Decorator: the function compiled by numba without fast-math (the same bytes on every run), cached on disk.

    Numba notices an edit of the file that holds the function, not of others: keep what a kernel calls in the kernel's own file.
    """
    folder = cache_folder()
    if folder is None:
        return numba.njit(function)
    if os.environ.get("NUMBA_CACHE_DIR"):
        return numba.njit(cache=True)(function)
    # numba reads this setting once, while it decorates.
    previous, numba.core.config.CACHE_DIR = numba.core.config.CACHE_DIR, str(folder)
    try:
        return numba.njit(cache=True)(function)
    finally:
        numba.core.config.CACHE_DIR = previous
