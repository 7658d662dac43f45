"""How fast one process draws labelled pictures: naive pyrender, pyrender tuned, and the rasteriser in numba, in turn in one run on the same scenes."""
from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

import serep.faces
from serep.config import Params, build, load_params
from serep.data.shard_file import encode_shard
from serep.faces.topology import FaceTopology
from serep.models.few_poses import FewPoses
from serep.models.semantic import NeuralModel
from serep.render import Portraits, Scene, SceneRanges, open_renderer
from serep.render.ambient_occlusion import facing_frame
from serep.render.opengl import import_pyrender
from serep.render.shading import mesh_normals

SIZES_PX, PEOPLE, SHOTS, ROUNDS = (128, 224), 6, 2, 6
PICTURE_STEPS = ("shot", "scene_with_shadows", "drawing", "encode_and_write")
Draw = Callable[[Scene], tuple[np.ndarray, np.ndarray]]  # rgb and mask
TARGETS = {"pyrender_tuned": 12.0, "numba": 25.0}  # times naive pyrender, whole stage
NAIVE = ("pyrender_naive", "pyrender_naive_with_shadows")


def run() -> dict:
    """CPU milliseconds a picture (median): each step of the stage, one variant after the other in every round; without EGL only numba is measured.

    The floor is pyrender as in its examples. It draws no shadows, which most training images have, so pyrender's own are switched on in a second one.
    """
    torch.set_num_threads(1)
    with threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
        return _measure(Path(folder) / "shard")


def _measure(file: Path) -> dict:
    params: Params = load_params(Path(__file__).parents[1])
    ranges, images_per_person = build(SceneRanges, params.render.ranges), params.render.images_per_shard // params.render.people_per_shard
    head_model = serep.faces.open_head_model("makehuman", serep.faces.BUILT_IN_HEADS)
    topology, portraits = head_model.topology, Portraits(head_model.topology)
    people = [np.asarray(head_model.draw_neutral(rng=np.random.default_rng(seed)), np.float64) for seed in range(PEOPLE)]
    sitters = [portraits.sitter(neutral, ranges, rng=np.random.default_rng(seed)) for seed, neutral in enumerate(people)]
    model = _untrained(topology, params)
    poses, codes = FewPoses(model), np.zeros((images_per_person, model.code_size), np.float32)
    rest: dict[str, Callable[[int], object]] = {
        "person_posed": lambda turn: poses.pose(topology.mesh(people[turn % PEOPLE]), codes),
        "person_dressed": lambda turn: portraits.sitter(people[turn % PEOPLE], ranges, rng=np.random.default_rng(turn)),
    }  # fmt: skip

    def picture(turn: int, draw: Draw, size_px: int) -> dict[str, float]:
        """One picture as the stage makes it, and what each step of it took."""
        person, clock = turn % PEOPLE, [time.process_time()]
        shot = sitters[person].sample_shot(ranges, topology.landmarks(people[person]), size_px=size_px, rng=np.random.default_rng(turn))
        clock.append(time.process_time())
        scene = sitters[person].scene(people[person], shot)
        triangles.append(len(scene.faces))
        clock.append(time.process_time())
        rgb, mask = draw(scene)
        clock.append(time.process_time())
        file.write_bytes(encode_shard(rgb[None], rows_per_file=1) + encode_shard(mask[None], rows_per_file=1))
        clock.append(time.process_time())
        return dict(zip(PICTURE_STEPS, 1000 * np.diff(clock), strict=True))

    triangles: list[int] = []
    figures: dict = {"vertices_of_the_head": len(topology.template), "triangles_of_the_head": len(topology.faces),
                     "pictures_per_variant": PEOPLE * SHOTS * ROUNDS, "images_per_person": images_per_person}
    for size_px in SIZES_PX:
        variants = _variants(size_px)
        person_ms: dict[str, list[float]] = {name: [] for name in rest}
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
        for turn in range(-1, ROUNDS):  # the first one warms up
            for name, step in rest.items():
                times = [_cpu_ms(lambda step=step, person=person: step(person)) for person in range(PEOPLE)]
                person_ms[name] += times if turn >= 0 else []
            for name, draw in variants.items():
                times = [picture(number, draw, size_px) for number in range(PEOPLE * SHOTS)]
                taken[name] += times if turn >= 0 else []
        per_person = {name: statistics.median(values) / images_per_person for name, values in person_ms.items()}
        figures[f"{size_px}px"] = _compared(per_person, {name: {step: statistics.median(one[step] for one in values) for step in PICTURE_STEPS}
                                                         for name, values in taken.items()})
    return figures | {"triangles_drawn": round(statistics.mean(triangles))}


def _untrained(topology: FaceTopology, params: Params) -> NeuralModel:
    """Of the default size; training changes no speed."""
    settings = params.semantic
    model = NeuralModel(topology, code_size=settings.code_size, gradient_modes=settings.gradient_modes, identity_modes=settings.training.identity_modes,
                        width=settings.training.width, residual_blocks=settings.training.residual_blocks)
    for modes in (model.modes, model.displacement_modes, model.identity_modes):
        torch.nn.init.normal_(modes, std=0.05)
    return model.requires_grad_(False)


def _compared(per_person: Mapping[str, float], steps: Mapping[str, Mapping[str, float]]) -> dict:
    """Every step of the variants, their sums, the share of what is not drawing, and how they compare with the naive ways.

    Shadows come from one more picture, seen from the lamp; it is drawn while the scene is put together and counts as the rest of the stage.
    """
    drawing = {name: one["drawing"] for name, one in steps.items()}
    whole = {name: sum(per_person.values()) + sum(one.values()) for name, one in steps.items()}
    own = [name for name in steps if name not in NAIVE]
    return {
        "ms": {name: {step: round(value, 2) for step, value in (per_person | steps[name]).items()} for name in steps},
        "ms_whole": {name: round(value, 2) for name, value in whole.items()},
        "pictures_per_core_and_second": {name: round(1000 / value) for name, value in whole.items()},
        "share_beside_drawing": {name: round(1 - drawing[name] / whole[name], 3) for name in own},
        "drawing_times": {naive: {name: round(drawing[naive] / drawing[name], 1) for name in own} for naive in NAIVE if naive in steps},
        "whole_stage_times": {naive: {name: round(whole[naive] / whole[name], 1) for name in own} for naive in NAIVE if naive in steps},
        "targets": TARGETS,
    }  # fmt: skip


def _cpu_ms(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return 1000 * (time.process_time() - start)


def _variants(size_px: int) -> dict[str, Draw]:
    def drawn_by(name: str) -> Draw:
        renderer = open_renderer(name, size_px=size_px, fallback=None)

        def draw(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
            layers = renderer.render(scene)
            return layers.rgb, layers.mask

        return draw

    variants = {"numba": drawn_by("numba")}
    try:
        variants["pyrender_tuned"] = drawn_by("pyrender")
    except RuntimeError:
        return variants
    return variants | {name: lambda scene, shadows=shadows: _naive(scene, size_px, shadows=shadows) for name, shadows in zip(NAIVE, (False, True), strict=True)}


def _naive(scene: Scene, size_px: int, *, shadows: bool) -> tuple[np.ndarray, np.ndarray]:
    """As in pyrender's own examples: a scene, two lights and a renderer per picture, lit per fragment, multisampled; shadows where the scene has them."""
    pyrender = import_pyrender()
    from OpenGL.EGL import eglDestroyContext

    material = pyrender.MetallicRoughnessMaterial(metallicFactor=0.0, roughnessFactor=0.6, doubleSided=True)
    colours = np.c_[np.asarray(scene.appearance.albedo), np.ones(len(scene.vertices))]
    primitive = pyrender.Primitive(
        positions=scene.vertices, indices=scene.faces, color_0=colours, mode=pyrender.GLTF.TRIANGLES, material=material,
        normals=mesh_normals(scene.vertices, scene.faces),
    )  # fmt: skip
    drawn = pyrender.Scene(bg_color=[0.0, 0.0, 0.0, 0.0], ambient_light=[0.3, 0.3, 0.3])
    drawn.add(pyrender.Mesh(primitives=[primitive]))
    pose, lamp = np.linalg.inv(np.diag([1.0, -1.0, -1.0, 1.0]) @ scene.camera.world_to_camera), np.eye(4)
    lamp[:3, :3] = facing_frame(scene.light.direction).T
    intrinsics = scene.camera.intrinsics
    drawn.add(pyrender.IntrinsicsCamera(intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2], znear=50, zfar=20_000), pose=pose)
    for intensity, place in ((2.0, lamp), (1.0, pose)):
        drawn.add(pyrender.DirectionalLight(color=np.ones(3), intensity=intensity), pose=place)
    renderer = pyrender.OffscreenRenderer(size_px, size_px)
    casts = shadows and scene.lamp_share is not None
    rgb, depth = renderer.render(drawn, flags=pyrender.RenderFlags.SHADOWS_DIRECTIONAL if casts else pyrender.RenderFlags.NONE)
    # Its own delete() would close the display and with it EGL for the other variants of this process; so only what it made is freed.
    renderer._renderer.delete()
    eglDestroyContext(renderer._platform._egl_display, renderer._platform._egl_context)
    renderer._platform._egl_display = None
    return rgb, np.uint8(255) * (depth > 0)


def main() -> None:
    from benchmarks.__main__ import main as run_benchmarks

    run_benchmarks(["render"])


if __name__ == "__main__":
    main()
