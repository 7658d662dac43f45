"""tools/score_real_videos.py: a table, a JSON file and a sheet for each video. The network is a stand-in that sees brightness."""
import json
import sys

import cv2
import numpy as np
import pytest
from capture_stub import stand_in, write_capture_model
from small_project import load_tool

from serep.data.video import VideoWriter
from serep.models.capture import CaptureModel, CaptureStream

FRAMES, DARK = 40, 25


@pytest.fixture(scope="module")
def tool():
    return load_tool("score_real_videos")


@pytest.fixture
def footage(tmp_path, topology, monkeypatch):
    """A clip whose brightness, and so the mouth, goes up and down; one frame is dark. The reference is the capture's own 2D landmarks, moved a little."""
    stand_in(monkeypatch, topology)
    write_capture_model(tmp_path / "model", topology)
    levels = 140 + 60 * np.sin(np.arange(FRAMES) / 3)
    levels[DARK] = 0
    frames = [np.full((90, 120, 3), level, np.uint8) for level in levels]
    (tmp_path / "videos").mkdir()
    with VideoWriter(tmp_path / "videos" / "clip.mp4", 25.0, (90, 120)) as writer:
        for frame in frames:
            writer.write(frame)
    result = CaptureStream(CaptureModel.load(tmp_path / "model"), fps=25.0).push(frames)
    pseudo = np.full((FRAMES, 478, 2), 50.0)
    for row in range(FRAMES):
        pseudo[row, result.landmark_ids] = np.nan_to_num(result.landmarks[row], nan=40.0) + 0.5
        pseudo[row, 14, 1] = pseudo[row, 13, 1] + 2 + 3 * np.sin(row / 3)  # opens with the brightness, as the stand-in's mouth shuts with it
    np.savez(tmp_path / "landmarks.npz", **{"real/clip.mp4": pseudo, "picture": np.zeros((478, 2))})
    return tmp_path


def test_tables_and_sheets(tool, footage, monkeypatch, capsys):
    out = footage / "out"
    words = [str(footage / "model"), str(footage / "videos"), str(footage / "landmarks.npz"), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["score_real_videos.py", *words])
    tool.main()
    assert sorted(path.name for path in out.iterdir()) == ["clip.png", "scores.json", "scores.md"]
    scores = json.loads((out / "scores.json").read_text())
    clip = scores["videos"]["clip"]
    assert clip["found_share"] == pytest.approx((FRAMES - 1) / FRAMES) and clip["landmark_pct"] < 10
    assert abs(clip["mouth_r"]) > 0.8 and scores["median"]["mouth_r"] == scores["worst"]["mouth_r"] == clip["mouth_r"]
    assert 0 < clip["held_jitter_left"] < 1  # noise of the sensor alone moves the stand-in's mouth, and smoothing calms it
    table = (out / "scores.md").read_text()
    assert table.startswith("| video | mouth_r") and "| to reach (median) | 0.85 |" in table and table in capsys.readouterr().out
    sheet = cv2.imread(str(out / "clip.png"))
    assert sheet.shape[1] == 6 * tool.TILE_PX and sheet.shape[0] % tool.TILE_PX == 0 and sheet.std() > 20


def test_what_is_worth_a_look(tool, footage, topology):
    frames = list(tool.VideoReader(footage / "videos" / "clip.mp4"))
    result = CaptureStream(CaptureModel.load(footage / "model"), fps=25.0).push(frames)
    with np.load(footage / "landmarks.npz") as archive:
        pseudo = archive["real/clip.mp4"].copy()
    pseudo[7] += 9.0
    told = dict(tool.telling_frames(result, pseudo))
    assert told["lost"] == DARK and told["landmarks most off"] == 7
    widest = np.flatnonzero(result.found)[np.argmax(pseudo[result.found, 14, 1] - pseudo[result.found, 13, 1])]
    assert told["mouth widest"] == widest
    pseudo[:] = np.nan
    assert tool.telling_frames(result, pseudo) == []
