from pathlib import Path

import numpy as np
import pytest
from capture_stub import write_capture_model
from PIL import Image

from serep.data.video import VideoReader
from serep.export.person import Person
from serep.export.side_by_side import FRAME_PX, HEADINGS, TILE_PX, chosen_rows, portraits, round_limit, write_side_by_side, write_side_by_side_video
from serep.models.semantic import SemanticModel
from serep.render.sheets import SHEET_BACKGROUND

PITCH, LINE = TILE_PX + 4, 22  # of tiles and of a line of text on a sheet


@pytest.fixture(scope="module")
def people(tmp_path_factory, topology):
    folder = tmp_path_factory.mktemp("model")
    write_capture_model(folder, topology)
    model = SemanticModel.load(folder / "semantic")
    large = topology.template * 1.25 + [300.0, 0.0, 0.0]
    return Person.meet(model, topology.mesh(topology.template), Path("a.obj")), Person.meet(model, topology.mesh(large), Path("b.obj"))


def opened(person, topology, *amounts):
    """The person's meshes with the mouth moved down, mm."""
    return person.neutral.vertices - topology.regions["mouth"][:, None] * np.array(amounts, float)[:, None, None] * [0, 1, 0]


def tiles(path, row):
    """The six pictures of one row."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    top = 4 + LINE + row * (LINE + PITCH) + LINE
    return [pixels[top : top + TILE_PX, 4 + column * PITCH : 4 + column * PITCH + TILE_PX] for column in range(len(HEADINGS))]


def test_a_row_shows_both_people_and_their_motion(people, topology, tmp_path):
    source, target = people
    path = tmp_path / "new" / "side_by_side.png"
    expressive, posed = opened(source, topology, 8.0, 0.0), opened(target, topology, 4.0, 0.0)
    write_side_by_side(path, source, expressive, target, posed, names=["open", "rest"])
    assert [one.name for one in path.parent.iterdir()] == ["side_by_side.png"]
    assert Image.open(path).size == (6 * PITCH + 4, 4 + LINE + 2 * (LINE + PITCH) + 48)
    moving, resting = tiles(path, 0), tiles(path, 1)
    for neutral, expressive_tile in ((0, 1), (2, 3)):
        change = np.abs(moving[neutral] - moving[expressive_tile]).sum(axis=-1) > 30
        rows = np.flatnonzero(change.any(axis=1))
        assert change.sum() > 50 and rows.min() > TILE_PX / 2  # the mouth, in the lower half
        assert np.array_equal(resting[neutral], resting[expressive_tile]) and np.array_equal(resting[neutral], moving[neutral])
    # One colour bar for both, 0 to 8 mm: 8 mm is yellow, 4 mm in between, rest dark.
    yellow = [((tile[..., 0] > 150) & (tile[..., 1] > 120) & (tile[..., 2] < 90)).sum() for tile in (*moving[4:], *resting[4:])]
    green = [((tile[..., 1] > tile[..., 0] + 40) & (tile[..., 1] > 100)).sum() for tile in moving[4:]]
    assert yellow[0] > 50 and yellow[1:] == [0, 0, 0] and green[1] > 50


def middle_and_size(picture):
    columns, rows = (np.flatnonzero((picture != np.array(SHEET_BACKGROUND)).any(axis=-1).any(axis=axis)) for axis in (0, 1))
    return (columns.min() + columns.max()) / 2, len(columns), rows.max()


def test_both_faces_stand_in_the_middle_at_one_scale(people):
    pairs = [(person, person.neutral.vertices[None]) for person in people]
    pictures = [portrait.draw(person.neutral.vertices) for portrait, person in zip(portraits(*pairs, size_px=128), people, strict=True)]
    (first, width, _), (second, larger, _) = (middle_and_size(picture) for picture in pictures)
    assert abs(first - 63.5) < 2 and abs(second - 63.5) < 2  # the second stands 300 mm aside
    assert larger / width == pytest.approx(1.25, abs=0.06)


def test_an_open_jaw_stays_in_the_picture(people, topology):
    person = people[0]
    chin = topology.template[:, 1] < np.quantile(topology.template[topology.regions["mouth"] > 0.5, 1], 0.2)
    low = person.neutral.vertices - 60.0 * (topology.regions["face"] > 0.5)[:, None] * chin[:, None] * np.array([0, 1, 0])
    narrow, wide = (portraits((person, mesh[None]), (person, mesh[None]), size_px=128)[0] for mesh in (person.neutral.vertices, low))
    assert middle_and_size(wide.draw(person.neutral.vertices))[1] < middle_and_size(narrow.draw(person.neutral.vertices))[1]


def test_of_a_sequence_six_frames_are_shown(people, topology, tmp_path):
    source, target = people
    amounts = 5 * np.abs(np.sin(np.linspace(0, 6 * np.pi, 25)))
    frames = opened(source, topology, *amounts)
    write_side_by_side(tmp_path / "s.png", source, frames, target, frames * 1.25, names=[f"frame_{n:05d}" for n in range(25)])
    assert Image.open(tmp_path / "s.png").size[1] == 4 + LINE + 6 * (LINE + PITCH) + 48


def test_rows_are_spread_and_move_most():
    motion, neutral = np.zeros((60, 1, 1)), np.ones((4, 3))
    motion[[3, 4, 5, 17, 25, 36, 44, 59], 0, 0] = [3, 9, 4, 1, 1, 1, 1, 1]
    assert chosen_rows(neutral + motion, neutral).tolist() == [4, 17, 25, 36, 44, 59]
    assert chosen_rows(neutral + motion[:4], neutral).tolist() == [0, 1, 2, 3]
    assert len(set(chosen_rows(neutral + np.zeros((7, 1, 1)), neutral))) == 6


@pytest.mark.parametrize(("largest", "limit"), [(0.0, 1.0), (1.01, 1.5), (4.0, 4.0), (8.3, 10.0), (10.1, 15.0), (61.0, 80.0)])
def test_limits_are_round(largest, limit):
    assert round_limit(largest) == limit


def test_video_has_every_frame_at_its_rate(people, topology, tmp_path):
    source, target = people
    amounts, seen = (0.0, 4.0, 8.0), []

    def progress(frames):
        for frame in frames:
            seen.append(frame)
            yield frame

    expressive, posed = opened(source, topology, *amounts), opened(target, topology, *amounts)
    write_side_by_side_video(tmp_path / "s.mp4", source, expressive, target, posed, fps=12.0, progress=progress)
    video = VideoReader(tmp_path / "s.mp4")
    frames = [frame.astype(int) for frame in video]
    assert video.fps == 12 and len(frames) == len(seen) == 3 and video.size == (4 + LINE + FRAME_PX + 4, 2 * (FRAME_PX + 4) + 4)
    for half in (slice(0, FRAME_PX), slice(FRAME_PX + 8, None)):
        assert frames[0][:, half].std() > 20  # a head
        changes = [(np.abs(frame[:, half] - frames[0][:, half]).sum(axis=-1) > 60).sum() for frame in frames]
        assert 100 < changes[1] < changes[2]
    assert [path.name for path in tmp_path.iterdir()] == ["s.mp4"]


def test_a_failure_leaves_no_video(people, topology, tmp_path):
    def progress(frames):
        yield next(frames)
        raise RuntimeError("no more")

    meshes = [opened(person, topology, 0.0, 4.0) for person in people]
    with pytest.raises(RuntimeError, match="no more"):
        write_side_by_side_video(tmp_path / "s.mp4", people[0], meshes[0], people[1], meshes[1], fps=12.0, progress=progress)
    assert not list(tmp_path.iterdir())
