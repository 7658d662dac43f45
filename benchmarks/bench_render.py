"""How fast one process draws heads: naive pyrender, pyrender tuned, and the rasteriser in numba, taking turns in one run on the same scenes."""
from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

import serep.faces
from serep.render import Scene, SceneRanges, ambient_occlusion, occlusion_floor, open_renderer, sample_appearance, sample_camera, sample_light
from serep.render.opengl import import_pyrender
from serep.render.shading import lit_colours

SIZES_PX, SCENES, ROUNDS = (128, 224), 6, 12
RANGES = SceneRanges(
    yaw_max_deg=75.0, pitch_max_deg=30.0, roll_max_deg=25.0, view_min_deg=12.0, view_max_deg=45.0, margin_min=1.8, margin_max=2.5, shift_max=0.08,
    gaze_max_deg=20.0, surroundings_min=0.25, surroundings_max=0.8, surroundings_contrast=0.8, lamp_min=0.1, lamp_max=0.8,
    lamp_azimuth_max_deg=100.0, lamp_elevation_min_deg=-15.0, lamp_elevation_max_deg=70.0, tint=0.1,
)  # fmt: skip


def run() -> dict:
    """CPU milliseconds a picture (median) and ratios, per picture size; without EGL only numba is measured."""
    model = serep.faces.open_head_model("makehuman", serep.faces.BUILT_IN_HEADS)
    topology = model.topology
    people = [np.asarray(model.draw_neutral(rng=np.random.default_rng(seed)), np.float64) for seed in range(SCENES)]
    floor = occlusion_floor(topology)
    occlusions = [ambient_occlusion(topology.mesh(neutral), rays=64, floor=floor) for neutral in people]
    figures: dict = {"vertices": len(topology.template), "triangles": len(topology.faces), "pictures_per_variant": SCENES * ROUNDS}
    for size_px in SIZES_PX:
        scenes = []
        for seed, (neutral, occlusion) in enumerate(zip(people, occlusions, strict=True)):
            rng = np.random.default_rng(seed)
            look, light = sample_appearance(topology, rng=rng), sample_light(RANGES, rng=rng)
            camera = sample_camera(RANGES, topology.landmarks(neutral), size_px=size_px, rng=rng)
            scenes.append(Scene(neutral, topology.faces, look, occlusion, light, camera))
        figures[f"{size_px}px"] = _compare(_variants(size_px), scenes)
    scene = scenes[0]
    figures["steps_ms"] = {
        "appearance": _median_ms(lambda: sample_appearance(topology, rng=np.random.default_rng(0))),
        "camera": _median_ms(lambda: sample_camera(RANGES, topology.landmarks(scene.vertices), size_px=224, rng=np.random.default_rng(0))),
        "shading": _median_ms(lambda: lit_colours(scene)),
        "occlusion_64_rays_once_per_head": _median_ms(lambda: ambient_occlusion(topology.mesh(scene.vertices), rays=64, floor=floor), repeats=5),
    }
    return figures


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
