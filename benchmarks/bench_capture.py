"""The frame path from a 512 x 512 H.264 file to a posed target of 9,409 vertices: frames per second, each part's share, and the ratio to a plain loop.

The plain loop decodes a frame, runs the face detector, one crop through the network, smoothing, head pose and the mesh, and then takes the next one. The
network computes in full but its answers are replaced by a steady face in the middle of the crop, since a network without training sees none.
`measure` does the same with a trained model and a video of one's own. Both engines of the processor are timed; bench_gpu times the network in large batches.
"""
import itertools
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
import torch

from serep.data.video import VideoReader, VideoWriter
from serep.export.performance import capture_frames
from serep.faces import BUILT_IN_HEADS, open_head_model
from serep.geometry.mesh import Mesh
from serep.models import capture, face_tracker
from serep.models.capture import CaptureModel, CaptureSettings, CaptureStream
from serep.models.capture_network import CaptureNetwork, CaptureOutput
from serep.models.engine import TorchEngine
from serep.models.face_boxes import FaceSquare, find_faces
from serep.models.face_tracker import TrackingSettings
from serep.models.rig import Rig
from serep.models.semantic import DisplacementPca
from serep.models.smoothing import OneEuro, OneEuroFilter

FRAMES, PLAIN_FRAMES, SIDE, FPS = 240, 24, 512, 30.0
BATCH, CROP_PX, CODE_SIZE, MODES, CROP_SCALE, TARGET_VERTICES = 8, 112, 32, 128, 1.5, 9409


class SteadyNetwork(CaptureNetwork):
    """Computes everything, answers the same."""

    def forward(self, images: torch.Tensor) -> CaptureOutput:
        output = super().forward(images)
        # written so that the number of crops stays free in an exported graph
        return CaptureOutput(output.codes, 0 * output.landmarks + self.shares, torch.full_like(output.presence, 9.0), output.features)


def steady_model() -> CaptureModel:
    topology = open_head_model("makehuman", BUILT_IN_HEADS).topology
    semantic = DisplacementPca(topology, code_size=CODE_SIZE)
    semantic.modes[:] = 0.01 * torch.randn(semantic.modes.shape, generator=torch.Generator().manual_seed(0))
    semantic.decoder.matrix[:] = torch.eye(CODE_SIZE)
    torch.manual_seed(0)
    network = SteadyNetwork(encoder="residual_small", image_size=CROP_PX, code_size=CODE_SIZE, landmark_count=len(topology.landmark_ids),
                            local_width=16, hidden_width=256).to(memory_format=torch.channels_last)
    points = topology.landmarks(topology.template)[:, :2] * [1, -1]
    low, high = points.min(axis=0), points.max(axis=0)
    network.shares = torch.from_numpy(((points - (low + high) / 2) / (high - low).max() / CROP_SCALE + 0.5).astype(np.float32))
    tracking = TrackingSettings(crop_scale=CROP_SCALE, batch_frames=BATCH, recentre_beyond=0.08, presence_threshold=0.5, patience_frames=25, thorough_every=10)
    one = OneEuro(min_cutoff=2.0, beta=0.5, speed_cutoff=1.0, joint=True)
    return CaptureModel(network, semantic, topology.landmark_ids, CaptureSettings(tracking, 50.0, one, one, one))


def target_rig(model: CaptureModel) -> Rig:
    """A target of the size that is asked for, with as many modes as the default expression model has; its shape does not matter for speed."""
    rng = np.random.default_rng(0)
    neutral = Mesh(rng.standard_normal((TARGET_VERTICES, 3)), rng.integers(0, TARGET_VERTICES, (100, 3)).astype(np.int32))
    modes = max(MODES, len(model.rig.basis))
    decoder = torch.nn.Sequential(model.rig.decoder, torch.nn.ConstantPad1d((0, modes - len(model.rig.basis)), 0.0))
    return Rig(neutral, rng.standard_normal((modes, TARGET_VERTICES, 3)).astype(np.float32), decoder, model.rig.code_size)


def write_video(path: Path) -> None:
    """Soft shapes that drift, as a talking head does."""
    small = np.random.default_rng(0).integers(60, 200, (24, 24, 3), dtype=np.uint8)
    with VideoWriter(path, FPS, (SIDE, SIDE)) as writer:
        large = cv2.resize(small, (SIDE + 32, SIDE + 32), interpolation=cv2.INTER_CUBIC)
        for frame in range(FRAMES):
            x, y = (round(16 + 15 * turn(frame / 40)) for turn in (np.sin, np.cos))
            writer.write(np.ascontiguousarray(large[y:y + SIDE, x:x + SIDE]))


class Clock:
    """Processor time of named parts, in whatever thread they run."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        start = time.thread_time()
        yield
        with self._lock:
            self.spent[name] = self.spent.get(name, 0.0) + time.thread_time() - start

    def of(self, name: str, function: Callable) -> Callable:
        def timed(*arguments, **options):
            with self.part(name):
                return function(*arguments, **options)

        return timed

    def items(self, name: str, items: Iterable) -> Iterator:
        iterator, end = iter(items), object()
        while True:
            with self.part(name):
                item = next(iterator, end)
            if item is end:
                return
            yield item


@contextmanager
def clocked(model: CaptureModel, clock: Clock) -> Iterator[None]:
    with ExitStack() as stack:
        for place, name, part in ((face_tracker, "find_faces", "detect"), (face_tracker, "find_faces_of_side", "detect"),
                                  (face_tracker, "sample_square", "crop"), (capture, "solve_head_pose", "head_pose")):
            stack.enter_context(patch.object(place, name, clock.of(part, getattr(place, name))))
        for kind, name, part in ((OneEuroFilter, "__call__", "smoothing"), (Rig, "pose", "mesh"), (type(model.engine), "__call__", "network")):
            stack.enter_context(patch.object(kind, name, clock.of(part, getattr(kind, name))))
        yield


def plain_loop(model: CaptureModel, frames: Iterable[np.ndarray], rig: Rig, fps: float) -> int:
    """One frame after the other, the detector on each."""
    count, stream = 0, CaptureStream(model, fps=fps)
    for frame in frames:
        stream._tracker._square = None  # forgets where the face was, so it is searched for
        stream._tracker._lost = 0
        rig.pose(stream.push([frame]).codes)
        count += 1
    return count


def measure(model: CaptureModel, video: Path, rig: Rig) -> dict:
    """Frames per second by the wall clock (best of three), processor time of each part, and how much longer a plain loop takes."""
    def whole(reader: Iterable, fps: float) -> int:
        result = capture_frames(model, reader, fps=fps)
        rig.pose(result.codes)
        return len(result.found)

    reader = VideoReader(video)
    count = whole(reader, reader.fps)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        whole(reader, reader.fps)
        times.append(time.perf_counter() - start)
    clock = Clock()
    start, before = time.process_time(), time.thread_time()
    with clocked(model, clock):
        whole(clock.items("decode", reader), reader.fps)
    total, main_thread = time.process_time() - start, time.thread_time() - before
    parts = clock.spent | {"rest": main_thread - sum(value for name, value in clock.spent.items() if name != "decode")}
    start, wall = time.process_time(), time.perf_counter()
    plain = plain_loop(model, itertools.islice(reader, PLAIN_FRAMES), rig, reader.fps)
    plain_cpu, plain_wall = (time.process_time() - start) / plain, (time.perf_counter() - wall) / plain
    all_parts = sum(parts.values())
    return {
        "frames_per_second": count / min(times),
        "processor_ms_per_frame": 1000 * total / count,
        "plain_loop_over_this": {"wall": plain_wall * count / min(times), "processor": plain_cpu * count / total},
        "share": {name: value / all_parts for name, value in sorted(parts.items())},
        "processor_ms": {name: 1000 * value / count for name, value in sorted(parts.items())},
        "frames": count, "threads": torch.get_num_threads(),
    }


def run() -> dict:
    model = steady_model()
    square = FaceSquare(np.array([SIDE / 2, SIDE / 2]), 160.0)
    # The video holds no face that a cascade would find: the tracker is shown the first one, after the search that a real one takes.
    search = face_tracker.find_faces

    def shown(picture: np.ndarray, *, thorough: bool) -> list[FaceSquare]:
        search(picture, thorough=False)
        return [square]

    with tempfile.TemporaryDirectory() as folder, patch.object(face_tracker, "find_faces", shown):
        video = Path(folder) / "video.mp4"
        write_video(video)
        rig = target_rig(model)
        figures = engine_figures(model, video, rig)
    crops = np.random.default_rng(0).integers(0, 255, (BATCH, CROP_PX, CROP_PX, 3), dtype=np.uint8)
    picture = np.full((SIDE, SIDE, 3), 128, np.uint8)
    figures["network_ms_per_crop"] = {f"batch_{size}": 1000 * seconds(lambda size=size: TorchEngine(model.network)(crops[:size])) / size for size in (1, BATCH)}
    figures["face_search_ms"] = {"quick": 1000 * seconds(lambda: find_faces(picture, thorough=False)),
                                 "thorough_nothing_found": 1000 * seconds(lambda: find_faces(picture, thorough=True))}
    return figures


def seconds(act: Callable[[], object], repeats: int = 5) -> float:
    """The quickest of some repeats, after one that warms up."""
    act()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        act()
        times.append(time.perf_counter() - start)
    return min(times)


def engine_figures(model: CaptureModel, video: Path, rig: Rig) -> dict:
    """`measure` with each engine, and the time of torch over that of ONNX Runtime for the same crops; why not where ONNX Runtime or the exporter is missing."""
    from serep.export.onnx import export_onnx

    torch_engine, crops = model.engine, np.random.default_rng(0).integers(0, 255, (BATCH, CROP_PX, CROP_PX, 3), dtype=np.uint8)
    figures: dict = {"torch": measure(model, video, rig)}
    with tempfile.TemporaryDirectory() as folder:
        try:
            export_onnx(Path(folder), model, model.rig)
            model.use_onnx(Path(folder))
        except RuntimeError as error:
            return figures | {"onnx": f"not measured: {error}"}
    ratios = {f"batch_{size}": seconds(lambda size=size: torch_engine(crops[:size])) / seconds(lambda size=size: model.engine(crops[:size])) for size in (1, BATCH)}
    figures["onnx"] = measure(model, video, rig)
    model.engine = torch_engine
    speeds = [figures[name]["frames_per_second"] for name in ("onnx", "torch")]
    return figures | {"onnx_over_torch": {"frames_per_second": speeds[0] / speeds[1], "network": ratios}}
