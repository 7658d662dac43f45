"""FLAME expressions decoded on a given neutral, as the published script does, for users who have the model (its licence forbids shipping it).

The model's pickle is read as plain data (`plain_data`), so no code of the file runs; an .npz with the same arrays is read too.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from serep.data.plain_data import as_array, read_npz, read_pickle

IDENTITY_MODES = 300  # of `shapedirs`; the expression modes follow
JAW = 2  # joints: root, neck, jaw, left eye, right eye
EYELID_FILES = ("l_eyelid.npy", "r_eyelid.npy")


@dataclass(frozen=True, eq=False)
class FlameModel:
    """What the jaw, the eyelids and E expression modes do; metres, like everything of FLAME."""

    expression_modes: Float[np.ndarray, "V 3 E"]
    pose_modes: Float[np.ndarray, "V 3 9"]
    """Corrections for the nine numbers of (jaw rotation - identity)."""
    jaw_regressor: Float[np.ndarray, " V"]
    jaw_weights: Float[np.ndarray, " V"]
    eyelids: Float[np.ndarray, "2 V 3"] | None
    """Left, right; None where the files are absent."""
    path: Path

    @property
    def vertex_count(self) -> int:
        return len(self.jaw_weights)

    def decode(
        self,
        neutral: Float[np.ndarray, "V 3"],
        expressions: Float[np.ndarray, "T K"],
        jaw: Float[np.ndarray, "T 3"],
        eyelids: Float[np.ndarray, "T 2"] | None = None,
    ) -> Float[np.ndarray, "T V 3"]:
        """The neutral (m) with K <= E expression weights, jaw rotation vectors and eyelid weights (left, right), head and eyes at rest.

        Linear blend skinning (Loper et al. 2015, SMPL) in which only the jaw turns, so each vertex goes its jaw weight of the way.
        """
        shaped = neutral + np.einsum("vak,tk->tva", self.expression_modes[..., : expressions.shape[1]], expressions, optimize=True)
        turn = Rotation.from_rotvec(jaw).as_matrix() - np.eye(3)
        joint = np.einsum("v,tva->ta", self.jaw_regressor, shaped)
        posed = shaped + np.einsum("vak,tk->tva", self.pose_modes, turn.reshape(-1, 9), optimize=True)
        posed += self.jaw_weights[:, None] * np.einsum("tij,tvj->tvi", turn, posed - joint[:, None])
        return posed if eyelids is None else posed + np.einsum("sva,ts->tva", self.eyelids, eyelids, optimize=True)


def read_flame(path: Path) -> FlameModel:
    """`generic_model.pkl` as it is distributed, or an .npz with its arrays; the eyelid files lie beside it, or are absent."""
    if not path.is_file():
        raise FileNotFoundError(f"no FLAME model at {path}: get generic_model.pkl from flame.is.tue.mpg.de, under its own licence")
    content = read_npz(path) if path.suffix == ".npz" else read_pickle(path)
    names = ("shapedirs", "posedirs", "J_regressor", "kintree_table", "weights")
    missing = [name for name in names if not isinstance(content, dict) or name not in content]
    if missing:
        raise ValueError(f"{path} is no FLAME model: it lacks {', '.join(missing)}")
    modes, pose, regressor, tree, weights = (np.asarray(as_array(content[name]), np.float64) for name in names)
    parents = tree[0].astype(np.int64)
    if modes.shape[-1] <= IDENTITY_MODES or pose.shape[-1] != 9 * (len(parents) - 1) or JAW in parents[1:]:
        raise ValueError(f"{path}: shapedirs {modes.shape}, posedirs {pose.shape}, parents {parents.tolist()} are not FLAME's (400 modes, 5 joints)")
    eyelids = [path.parent / name for name in EYELID_FILES]
    return FlameModel(
        expression_modes=modes[..., IDENTITY_MODES:],
        pose_modes=pose[..., 9 * (JAW - 1) : 9 * JAW],
        jaw_regressor=regressor[JAW],
        jaw_weights=weights[:, JAW],
        eyelids=np.stack([np.load(file, allow_pickle=False).reshape(-1, 3) for file in eyelids]) if all(file.is_file() for file in eyelids) else None,
        path=path,
    )


@dataclass(frozen=True, eq=False)
class FlameParameters:
    """What a method predicts for one video."""

    expressions: Float[np.ndarray, "T K"]
    jaw: Float[np.ndarray, "T 3"]
    eyelids: Float[np.ndarray, "T 2"] | None


def read_flame_parameters(path: Path, model: FlameModel) -> FlameParameters:
    """`expressions` (T, K), `poses` (T, 6: neck, which is ignored, then jaw) and maybe `eyelids` (T, 2), as .npz or .pkl, a leading axis of 1 allowed."""
    content = read_npz(path) if path.suffix == ".npz" else read_pickle(path)
    if not isinstance(content, dict) or not {"expressions", "poses"} <= set(content):
        raise ValueError(f"{path} holds no FLAME parameters: needs arrays `expressions` and `poses`")
    arrays = {name: np.asarray(as_array(content[name]), np.float64) for name in ("expressions", "poses", "eyelids") if content.get(name) is not None}
    arrays = {name: array[0] if array.ndim == 3 and len(array) == 1 else array for name, array in arrays.items()}
    expressions, poses, eyelids = arrays["expressions"], arrays["poses"], arrays.get("eyelids")
    shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
    frames = expressions.shape[:1]
    if expressions.ndim != 2 or poses.shape != (*frames, 6) or (eyelids is not None and eyelids.shape != (*frames, 2)):
        raise ValueError(f"{path} has {shapes}: needs expressions (T, K), poses (T, 6) and maybe eyelids (T, 2) of the same frames")
    if expressions.shape[1] > model.expression_modes.shape[-1]:
        raise ValueError(f"{path} has {expressions.shape[1]} expression weights, {model.path} has {model.expression_modes.shape[-1]} modes")
    if eyelids is not None and model.eyelids is None:
        raise ValueError(f"{path} has eyelids: put {' and '.join(EYELID_FILES)} beside {model.path}, or leave the array out")
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{path}: {name} has NaN or infinite values (first: frame {np.flatnonzero(~np.isfinite(array).all(axis=1))[0]}): predict every frame")
    return FlameParameters(expressions, poses[:, 3:], eyelids)
