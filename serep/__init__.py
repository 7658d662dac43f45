"""Semantic facial expression capture: from registered face meshes to a released model that plays one camera's performance on any character.

    import serep

    model = serep.load_model("models:/serep-semantic@champion")   # or a folder
    codes = model.encode(serep.read_mesh("anna/neutral.obj"), smile.vertices[None])
    vertices = model.bind(serep.read_mesh("ben/neutral.obj")).pose(codes)

Names are imported when they are first used, so that `import serep` costs nothing. serep.geometry holds the conventions.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serep.geometry.mesh import Mesh
    from serep.geometry.mesh_io import read_mesh, write_mesh

    __version__: str

__all__ = ["Mesh", "__version__", "load_model", "read_mesh", "write_mesh"]

# Modules as text: an import statement here, even an unused one, would make every pipeline stage depend on every module.
_HOMES = {"Mesh": "serep.geometry.mesh", "read_mesh": "serep.geometry.mesh_io", "write_mesh": "serep.geometry.mesh_io", "load_model": "serep.loading"}


def __getattr__(name: str) -> Any:
    from importlib import import_module, metadata

    if name == "__version__":
        return metadata.version("serep")
    if name not in _HOMES:
        raise AttributeError(f"module 'serep' has no attribute {name!r} (it has {', '.join(__all__)})")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
