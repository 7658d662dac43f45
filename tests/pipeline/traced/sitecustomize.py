"""On the PYTHONPATH of a project's stages: notes which values of params.yaml each of them reads, one JSON file a process in $PARAMS_READ."""
import atexit
import json
import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder

CONFIG = "serep.config"


class _Watch(MetaPathFinder):
    """Lets Python import serep.config as always, and then has its sections tell what is read of them."""

    def find_spec(self, name, path=None, target=None):
        if name != CONFIG:
            return None
        spec = PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (execute(module), _watch(module))
        return spec


def _watch(config):
    from pydantic import BaseModel

    places, read = {}, set()  # id of a section → its dotted key; keys of the values that were read
    load, attribute, dump = config.load_params, BaseModel.__getattribute__, BaseModel.model_dump

    def place(section, key):
        places[id(section)] = key
        for name in type(section).model_fields:
            value = attribute(section, name)
            if isinstance(value, BaseModel):
                place(value, f"{key}.{name}".lstrip("."))

    def note(section, name):
        key = places.get(id(section))
        if key is not None:
            read.add(f"{key}.{name}".strip("."))

    def watched(section, name):
        value = attribute(section, name)
        if name in type(section).model_fields and not isinstance(value, BaseModel):
            note(section, name)
        return value

    def watched_dump(section, **options):
        if sys._getframe(1).f_globals.get("__name__") != "serep.stages._stage":  # the wrapper, for MLflow
            for name in options.get("include") or ("",):
                note(section, name)
        return dump(section, **options)

    def load_and_place(*arguments, **options):
        params = load(*arguments, **options)
        place(params, "")
        keep.append(params)  # so that no other object gets its id
        return params

    keep = []
    config.load_params, BaseModel.__getattribute__, BaseModel.model_dump = load_and_place, watched, watched_dump
    folder = os.environ["PARAMS_READ"]

    @atexit.register
    def write():
        if keep:
            with open(os.path.join(folder, f"{os.getpid()}.json"), "w") as file:
                json.dump({"command": sys.orig_argv[1:], "read": sorted(read)}, file)


if "PARAMS_READ" in os.environ:
    sys.meta_path.insert(0, _Watch())
