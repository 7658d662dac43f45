"""From frames of a video to expression codes, posed meshes and head poses: the released capture model."""
from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from serep.files import write_file
from serep.geometry.mesh import Mesh
from serep.models.capture_network import CaptureNetwork
from serep.models.capture_result import CaptureResult
from serep.models.engine import Engine, OnnxEngine, TorchEngine, choose_engine, network_hash
from serep.models.face_tracker import FaceTracker, Sighting, TrackingSettings
from serep.models.head_pose import assumed_intrinsics, pose_from_numbers, pose_to_numbers, solve_head_pose
from serep.models.rig import Rig
from serep.models.semantic import SemanticModel
from serep.models.smoothing import OneEuro, OneEuroFilter
from serep.models.store import load_weights, read_checked, save_weights

__all__ = ["CaptureModel", "CaptureResult", "CaptureSettings", "CaptureStream"]
KIND = "capture"
SEMANTIC_FOLDER, ONNX_FOLDER = "semantic", "onnx"
POSE_BATCH = 64  # frames whose meshes are posed at once
CUT = 0.7  # move of the landmarks' middle from one frame to the next, as a share of the face, that is a cut and not a motion
LONGEST_GAP_S = 0.2  # without the face after which smoothing starts anew


@dataclass(frozen=True)
class CaptureSettings:
    """How a trained network is used on video; stored in the model's config.

    Smoothing works on signals of unit scale: codes in standard deviations of the training set, landmarks in sides of the landmark square, poses in radians
    and shares of the distance.
    """

    tracking: TrackingSettings
    field_of_view_deg: float  # of the longer side of the picture; assumed, since a video does not tell
    code_smoothing: OneEuro
    landmark_smoothing: OneEuro
    pose_smoothing: OneEuro

    @staticmethod
    def from_dict(values: dict) -> CaptureSettings:
        smoothing = {name: OneEuro(**values[name]) for name in ("code_smoothing", "landmark_smoothing", "pose_smoothing")}
        return CaptureSettings(TrackingSettings(**values["tracking"]), values["field_of_view_deg"], **smoothing)


class CaptureModel:
    """The capture network with the semantic model whose codes it speaks. `engine` runs the network on video: torch, unless `load` found better."""

    def __init__(self, network: CaptureNetwork, semantic: SemanticModel, landmark_ids: Int[np.ndarray, " L"], settings: CaptureSettings):
        ids = np.asarray(landmark_ids, np.int32)
        if not np.array_equal(ids, semantic.topology.landmark_ids) or network.settings["landmark_count"] != len(ids):
            raise ValueError(f"the network places {network.settings['landmark_count']} landmarks, the semantic model's topology "
                             f"{semantic.topology.name!r} has {len(semantic.topology.landmark_ids)}. Train the capture model for this semantic model")
        if network.settings["code_size"] != semantic.code_size:
            raise ValueError(f"the network's codes have {network.settings['code_size']} numbers, the semantic model's {semantic.code_size}. "
                             "Train the capture model for this semantic model")
        self.network, self.semantic, self.landmark_ids, self.settings = network.eval(), semantic, ids, settings
        self.engine: Engine = TorchEngine(network)
        self.rig = semantic.bind(semantic.mean_neutral)
        # The rig of the landmarks alone: the head's pose needs no more of the mean face.
        self._landmark_neutral = semantic.topology.landmarks(self.rig.neutral.vertices)
        self._landmark_basis = semantic.topology.landmarks(self.rig.basis.astype(np.float64))

    def use_onnx(self, folder: Path) -> None:
        """Let ONNX Runtime run the network on the processor, from the folder that `serep export --onnx` wrote of this model.

        ValueError for the export of another model, or where the network is on another device.
        """
        if (device := next(self.network.parameters()).device).type != "cpu":
            raise ValueError(f"ONNX Runtime runs the network on the processor, but it was asked to run on {device}. Ask for the device cpu")
        engine = OnnxEngine(folder)
        if engine.weights_sha256 != network_hash(self.network):
            raise ValueError(f"{folder} was exported from another capture model. Export this one: serep export --onnx {folder}")
        self.engine = engine

    def mean_landmarks(self, codes: Float[np.ndarray, "T Z"]) -> Float[np.ndarray, "T L 3"]:
        """Landmarks of the posed mean neutral, mm."""
        with torch.no_grad():
            weights = self.rig.coefficients(torch.from_numpy(codes)).numpy()
        return self._landmark_neutral + np.tensordot(weights, self._landmark_basis, axes=1)

    def run(self, frames: UInt8[np.ndarray, "T H W 3"], *, target: Mesh | None = None, fps: float = 25.0) -> CaptureResult:
        """Capture a video held in memory; `CaptureStream` takes longer ones in pieces. `target` is the neutral to pose, default the mean neutral.

        Raises ValueError when no frame shows a face.
        """
        result = CaptureStream(self, target=target, fps=fps).push(frames)
        if not result.found.any():
            raise ValueError(f"no face was found in any of the {len(frames)} frames ({frames.shape[2]} x {frames.shape[1]} px). "
                             "Give frames that show one face, upright and at least 40 px large")
        return result

    def save(self, folder: Path, *, onnx: Mapping[str, bytes] | None = None) -> None:
        """Write a folder that `CaptureModel.load` reads: config.json, weights.safetensors and semantic/; and onnx/ with this model's export where it is given.

        config.json is written last and holds the sha256 of the files in onnx/ too.
        """
        folder = Path(folder)
        self.semantic.save(folder / SEMANTIC_FOLDER)
        for name, content in (onnx or {}).items():
            write_file(folder / ONNX_FOLDER / name, content)
        config = {"kind": KIND, "network": self.network.settings, "settings": asdict(self.settings), "landmark_ids": self.landmark_ids.tolist(),
                  "onnx_sha256": {name: hashlib.sha256(content).hexdigest() for name, content in (onnx or {}).items()}}
        save_weights(folder, self.network.state_dict(), config)

    @staticmethod
    def load(folder: Path, *, device: torch.device | None = None, engine: str = "auto") -> CaptureModel:
        """The model that `save` wrote, on the processor unless `device` says otherwise; `engine` as in `choose_engine`.

        FileNotFoundError or ValueError when the folder is not complete and unchanged, its export included, whatever the engine.
        """
        folder = Path(folder)
        state, config = load_weights(folder)
        if config.get("kind") != KIND:
            raise ValueError(f"{folder} holds a model of kind {config.get('kind')!r}, not a capture model. Give the folder of a capture model")
        network = CaptureNetwork(**config["network"])
        network.load_state_dict(state)
        network = network.to(device or torch.device("cpu"), memory_format=torch.channels_last)
        semantic = SemanticModel.load(folder / SEMANTIC_FOLDER)
        model = CaptureModel(network, semantic, np.array(config["landmark_ids"], np.int32), CaptureSettings.from_dict(config["settings"]))
        exported = config.get("onnx_sha256")  # models of earlier versions have none
        for name in exported or ():
            read_checked(folder / ONNX_FOLDER, name, {"sha256": exported})
        model.engine = choose_engine(network, folder / ONNX_FOLDER if exported else None, engine)
        return model


class CaptureStream:
    """One running capture: give it consecutive frames in pieces of any length; tracking and smoothing go on across pieces."""

    def __init__(self, model: CaptureModel, *, target: Mesh | None = None, fps: float):
        if not fps > 0:
            raise ValueError(f"frames per second must be positive, got {fps}")
        self._model, self._fps = model, float(fps)
        self._rig: Rig = model.rig if target is None else model.semantic.bind(target)
        self._tracker = FaceTracker(model.engine, model.settings.tracking, model.landmark_ids)
        settings = model.settings
        self._code_filter, self._landmark_filter, self._pose_filter = (
            OneEuroFilter(one, self._fps) for one in (settings.code_smoothing, settings.landmark_smoothing, settings.pose_smoothing))
        self._code_spread = model.network.code_spread.cpu().numpy()
        self._previous: Sighting | None = None
        self._gap = 0  # frames since the face was last found
        self._unit = 1.0  # px that smoothing counts as one
        self._pose: np.ndarray | None = None

    def push(self, frames: UInt8[np.ndarray, "T H W 3"] | Sequence[UInt8[np.ndarray, "H W 3"]], *, missed: int = 0) -> CaptureResult:
        """The result of these frames. Frames without a face come back as such; no error is raised for them.

        `missed` frames went by between the last ones and these, as where a camera is quicker than its captor.
        """
        if len(frames) == 0:
            raise ValueError("no frames were given. Give at least one")
        model, count, landmark_count = self._model, len(frames), len(self._model.landmark_ids)
        intrinsics = assumed_intrinsics(frames[0].shape[1], frames[0].shape[0], model.settings.field_of_view_deg)
        codes = np.zeros((count, model.semantic.code_size), np.float32)
        landmarks = np.full((count, landmark_count, 2), np.nan, np.float32)
        boxes, poses = np.full((count, 4), np.nan, np.float32), np.full((count, 4, 4), np.nan, np.float32)
        found, starts, steps = np.zeros(count, bool), np.zeros(count, bool), np.ones(count, int)
        self._gap += missed
        for row, sighting in enumerate(self._tracker.follow(frames)):
            if sighting is None:
                self._gap += 1
                continue
            found[row], starts[row], steps[row] = True, self._is_new(sighting), 1 + self._gap
            if starts[row]:
                self._code_filter.reset()
                self._landmark_filter.reset()
                self._unit = sighting.square.side
            self._previous, self._gap = sighting, 0
            codes[row] = self._code_filter(sighting.code / self._code_spread, steps=int(steps[row])) * self._code_spread
            landmarks[row] = self._landmark_filter(sighting.landmarks / self._unit, steps=int(steps[row])) * self._unit
            boxes[row] = sighting.square.box(model.settings.tracking.crop_scale)
        poses[found] = self._head_poses(codes[found], landmarks[found], starts[found], steps[found], intrinsics)
        vertices = _posed(self._rig, codes)
        mesh_landmarks = model.semantic.topology.landmarks(vertices).astype(np.float32)
        return CaptureResult(codes, vertices, poses, model.landmark_ids, landmarks, mesh_landmarks, boxes, found, self._fps)

    @property
    def most_faces(self) -> int:
        """Faces in the frame that showed most of them, among those that were searched; the largest is captured."""
        return self._tracker.most_faces

    def _head_poses(
        self, codes: Float[np.ndarray, "n Z"], landmarks: Float[np.ndarray, "n L 2"], starts: Bool[np.ndarray, " n"], steps: Int[np.ndarray, " n"],
        intrinsics: Float[np.ndarray, "3 3"],
    ) -> Float[np.ndarray, "n 4 4"]:
        """Smoothed poses of sightings, each so many frames after the one before; `starts` are those that have nothing to do with what was before.

        The head's pose is the actor's: it comes from the mean face, not from a target of other proportions.
        """
        poses = np.empty((len(codes), 4, 4))
        for row, (points, places) in enumerate(zip(self._model.mean_landmarks(codes), landmarks.astype(np.float64), strict=True)):
            if starts[row]:
                self._pose_filter.reset()
                self._pose = None
            self._pose = solve_head_pose(points, places, intrinsics, self._pose)
            poses[row] = pose_from_numbers(self._pose_filter(pose_to_numbers(self._pose), steps=int(steps[row])))
        return poses

    def _is_new(self, sighting: Sighting) -> bool:
        """Whether this is the first sight of a face, or another place than the last one's: a cut."""
        previous = self._previous
        if previous is None or self._gap > LONGEST_GAP_S * self._fps:
            return True
        return bool(np.abs(sighting.landmarks.mean(axis=0) - previous.landmarks.mean(axis=0)).max() > CUT * previous.square.side)


def _posed(rig: Rig, codes: Float[np.ndarray, "T Z"]) -> Float[np.ndarray, "T V 3"]:
    return np.concatenate([rig.pose(codes[start:start + POSE_BATCH]) for start in range(0, len(codes), POSE_BATCH)])
