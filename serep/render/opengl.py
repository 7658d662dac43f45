"""pyrender on a machine without display: how it is imported, and one EGL context per process."""
from __future__ import annotations

import logging
import os
import sys
import types

import numpy as np

NEEDED = "apt-get install --no-install-recommends libegl1 libgl1"
_context = None


def import_pyrender() -> types.ModuleType:
    """The pyrender package without its window.

    Its viewer needs X and packages of its own, so an empty module takes its place; numpy 2 lost the name `infty` that pyrender uses.
    Raises ImportError or AttributeError (from PyOpenGL) where libEGL or libGL is missing.
    """
    os.environ["PYOPENGL_PLATFORM"] = "egl"
    # Threads inside the software GL make one small picture slower; must be set before the library loads.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    if not hasattr(np, "infty"):
        np.infty = np.inf  # noqa: NPY201
    if "pyrender.viewer" not in sys.modules:
        viewer = types.ModuleType("pyrender.viewer")
        viewer.Viewer = None
        sys.modules["pyrender.viewer"] = viewer
    logging.getLogger("OpenGL").setLevel(logging.WARNING)  # it tells each process that its optional C helpers are absent
    import pyrender

    return pyrender


def open_context():
    """The EGL context of this process, made current. It is never closed: closing one display ends EGL for the whole process.

    The device is EGL_DEVICE_ID where that is set, else the first that works. Raises RuntimeError that names the packages to install.
    """
    global _context  # noqa: PLW0603
    if _context is not None:
        _context.make_current()
        return _context
    try:
        import_pyrender()
        import OpenGL.error
        from pyrender.platforms import egl
    except (ImportError, AttributeError, TypeError, OSError) as error:
        raise RuntimeError(_unusable(error)) from error
    try:
        wanted = os.environ.get("EGL_DEVICE_ID")
        devices = [egl.get_device_by_index(int(wanted))] if wanted else egl.query_devices()
    except (RuntimeError, ValueError, TypeError, OpenGL.error.Error) as error:
        raise RuntimeError(_unusable(error)) from error
    reason = "EGL lists no device"
    for device in devices:
        context = egl.EGLPlatform(1, 1, device=device)
        try:
            context.init_context()
        except (AssertionError, OpenGL.error.Error) as error:
            reason = error
            continue
        _context = context
        return context
    raise RuntimeError(_unusable(reason))


def _unusable(reason: object) -> str:
    return (
        f"OpenGL without a display (EGL) cannot be used here: {str(reason) or type(reason).__name__}. Install it: {NEEDED}, "
        "or draw with the numba backend (params: render.backend: numba)."
    )
