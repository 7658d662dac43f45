"""How fast one process draws labelled pictures: naive pyrender, pyrender tuned, and the rasteriser in numba, in turn in one run on the same scenes."""
from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

import serep.faces
from serep.config import build, load_params
from serep.data.shard_file import encode_shard
from serep.models.semantic import NeuralModel
from serep.render import Portraits, Scene, SceneRanges, open_renderer
from serep.render.opengl import import_pyrender
from serep.render.shading import lit_colours

SIZES_PX, PEOPLE, SHOTS, ROUNDS = (128, 224), 6, 2, 6
STAGE_PX = 224


def run() -> dict:
    """CPU milliseconds a picture (median): drawing alone for each picture size, then the whole stage; without EGL only numba is measured."""
    torch.set_num_threads(1)
    with threadpool_limits(1):
        return _measure()


def _measure() -> dict:
    params = load_params(Path(__file__).parents[1]).render
    ranges, images_per_person = build(SceneRanges, params.ranges), params.images_per_shard // params.people_per_shard
    head_model = serep.faces.open_head_model("makehuman", serep.faces.BUILT_IN_HEADS)
    topology, portraits = head_model.topology, Portraits(head_model.topology)
    people = [np.asarray(head_model.draw_neutral(rng=np.random.default_rng(seed)), np.float64) for seed in range(PEOPLE)]
    sitters = [portraits.sitter(neutral, ranges, rng=np.random.default_rng(seed)) for seed, neutral in enumerate(people)]
    shots = {
        size_px: [(person, sitters[person].sample_shot(ranges, topology.landmarks(people[person]), size_px=size_px, rng=np.random.default_rng([person, shot])))
                  for person in range(PEOPLE) for shot in range(SHOTS)]
        for size_px in SIZES_PX
    }  # fmt: skip
    scenes = {size_px: [sitters[person].scene(people[person], shot) for person, shot in taken] for size_px, taken in shots.items()}
    figures: dict = {
        "vertices_of_the_head": len(topology.template), "triangles_of_the_head": len(topology.faces),
        "triangles_drawn": round(statistics.mean(len(scene.faces) for scene in scenes[STAGE_PX])), "pictures_per_variant": PEOPLE * SHOTS * ROUNDS,
    }  # fmt: skip
    drawing = {size_px: _compare(_variants(size_px), scenes[size_px]) for size_px in SIZES_PX}
    figures |= {f"{size_px}px": result for size_px, result in drawing.items()}
    renderer = open_renderer("numba", size_px=STAGE_PX, fallback=None)
    layers = [renderer.render(scene) for scene in scenes[STAGE_PX]]
    model = _untrained(topology)
    rig, code = model.bind(topology.mesh(people[0])), np.zeros((1, model.code_size), np.float32)
    turn = iter(range(1 << 30))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "shard"

        def store() -> None:
            one = layers[next(turn) % len(layers)]
            file.write_bytes(encode_shard(one.rgb[None], rows_per_file=1) + encode_shard(one.mask[None], rows_per_file=1))

        def compose() -> None:
            person, shot = shots[STAGE_PX][next(turn) % len(layers)]
            sitters[person].scene(people[person], shot)

        def sample() -> None:
            person = next(turn) % PEOPLE
            sitters[person].sample_shot(ranges, topology.landmarks(people[person]), size_px=STAGE_PX, rng=np.random.default_rng(next(turn)))

        rest = {
            "person_bound": _median_ms(lambda: _bind(model, people[next(turn) % PEOPLE]), repeats=4) / images_per_person,
            "person_dressed": _median_ms(lambda: portraits.sitter(people[next(turn) % PEOPLE], ranges, rng=np.random.default_rng(next(turn))), repeats=12)
            / images_per_person,
            "pose": _median_ms(lambda: rig.pose(code)), "shot": _median_ms(sample), "scene": _median_ms(compose), "encode_and_write": _median_ms(store),
        }  # fmt: skip
    figures["whole_stage_224px"] = _whole(rest, drawing[STAGE_PX]["ms"]) | {"images_per_person": images_per_person}
    figures["steps_ms"] = {"shading": _median_ms(lambda: lit_colours(scenes[STAGE_PX][0]))}
    return figures


def _untrained(topology) -> NeuralModel:
    model = NeuralModel(topology, code_size=64, gradient_modes=128, identity_modes=16, width=256, residual_blocks=1)
    torch.nn.init.normal_(model.modes, std=0.05)
    torch.nn.init.normal_(model.identity_modes, std=0.05)
    return model


def _bind(model: NeuralModel, neutral: np.ndarray) -> None:
    model._last_bound = None
    model.bind(model.topology.mesh(neutral))


def _whole(rest: dict[str, float], drawing: dict[str, float]) -> dict:
    """Milliseconds of every step, and for each variant the sum, pictures a second, the share of what is not drawing, and how it compares with naive."""
    total = {name: sum(rest.values()) + value for name, value in drawing.items()}
    result = {
        "ms": {name: round(value, 2) for name, value in rest.items()},
        "ms_whole": {name: round(value, 2) for name, value in total.items()},
        "pictures_per_s": {name: round(1000 / value) for name, value in total.items()},
        "share_beside_drawing": {name: round(1 - drawing[name] / value, 3) for name, value in total.items()},
    }
    if "pyrender_naive" in total:
        result["times_faster_than_naive"] = {name: round(total["pyrender_naive"] / value, 1) for name, value in total.items()}
    return result


def _variants(size_px: int) -> dict[str, Callable[[Scene], object]]:
    variants: dict[str, Callable[[Scene], object]] = {"numba": open_renderer("numba", size_px=size_px, fallback=None).render}
    try:
        variants["pyrender_tuned"] = open_renderer("pyrender", size_px=size_px, fallback=None).render
    except RuntimeError:
        return variants
    return variants | {"pyrender_naive": lambda scene: _naive(scene, size_px)}


def _naive(scene: Scene, size_px: int) -> np.ndarray:
    """As in pyrender's own examples: a scene, two lights and a renderer per picture, lit per fragment, multisampled."""
    pyrender = import_pyrender()
    from OpenGL.EGL import eglDestroyContext

    material = pyrender.MetallicRoughnessMaterial(metallicFactor=0.0, roughnessFactor=0.6, doubleSided=True)
    colours = np.c_[np.asarray(scene.appearance.albedo), np.ones(len(scene.vertices))]
    primitive = pyrender.Primitive(
        positions=scene.vertices, indices=scene.faces, color_0=colours, mode=pyrender.GLTF.TRIANGLES, material=material,
        normals=scene.vertices / np.linalg.norm(scene.vertices, axis=1, keepdims=True),
    )  # fmt: skip
    drawn = pyrender.Scene(bg_color=[0.0, 0.0, 0.0, 0.0], ambient_light=[0.3, 0.3, 0.3])
    drawn.add(pyrender.Mesh(primitives=[primitive]))
    pose = np.linalg.inv(np.diag([1.0, -1.0, -1.0, 1.0]) @ scene.camera.world_to_camera)
    intrinsics = scene.camera.intrinsics
    drawn.add(pyrender.IntrinsicsCamera(intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2], znear=50, zfar=20_000), pose=pose)
    for intensity in (2.0, 1.0):
        drawn.add(pyrender.DirectionalLight(color=np.ones(3), intensity=intensity), pose=pose)
    renderer = pyrender.OffscreenRenderer(size_px, size_px)
    rgb, _ = renderer.render(drawn)
    # Its own delete() would close the display and with it EGL for the other variants of this process; so only what it made is freed.
    renderer._renderer.delete()
    eglDestroyContext(renderer._platform._egl_display, renderer._platform._egl_context)
    renderer._platform._egl_display = None
    return rgb


def _compare(variants: dict[str, Callable[[Scene], object]], scenes: list[Scene]) -> dict:
    """Every variant draws every scene in turn, so that whatever else the machine does weighs on all alike."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for draw in variants.values():
        draw(scenes[0])
    for _ in range(ROUNDS):
        for scene in scenes:
            for name, draw in variants.items():
                times[name].append(_cpu_ms(lambda draw=draw, scene=scene: draw(scene)))
    median = {name: statistics.median(values) for name, values in times.items()}
    result = {
        "ms": {name: round(value, 2) for name, value in median.items()},
        "ms_floor": {name: round(min(values), 2) for name, values in times.items()},
        "pictures_per_s": {name: round(1000 / value) for name, value in median.items()},
    }
    if "pyrender_naive" in median:
        result["times_faster_than_naive"] = {name: round(median["pyrender_naive"] / value, 1) for name, value in median.items()}
    return result


def _cpu_ms(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return 1000 * (time.process_time() - start)


def _median_ms(function: Callable[[], object], repeats: int = 40) -> float:
    function()
    return round(statistics.median(_cpu_ms(function) for _ in range(repeats)), 2)


def main() -> None:
    from benchmarks.__main__ import main as run_benchmarks

    run_benchmarks(["render"])


if __name__ == "__main__":
    main()
