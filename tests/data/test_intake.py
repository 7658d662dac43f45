"""Taking footage in. Faces are bright discs, found by their brightness and cut by a plain resize; everything else is real."""
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from serep.data.intake import IntakeSettings, take_in
from serep.data.real_faces import INDEX_FILE, RealFaces, read_left_out
from serep.data.schema import INTAKE_FORMAT, REAL_FACES, read_table
from serep.data.video import VideoWriter
from serep.faces.landmark_ids import LANDMARK_IDS

SETTINGS = IntakeSettings(size_px=64, cover=2.0, least_face_px=20.0, least_sharpness=0.01, alike_share=0.03, seconds_between=0.1, frames_per_video=20,
                          faces_per_picture=2, test_share=0.0)


def find(picture):
    """Squares of the bright red discs, the largest first."""
    mask = ((picture[..., 0] > 180) & (picture[..., 2] < 90)).astype(np.uint8)
    count, _, boxes, _ = cv2.connectedComponentsWithStats(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8)))
    found = [(x + 0.5 * width, y + 0.5 * height, float(max(width, height))) for x, y, width, height, _ in boxes[1:count] if width > 6]
    return np.array(sorted(found, key=lambda one: -one[2])).reshape(-1, 3)


def cut(picture, square, scale, size):
    half = 0.5 * scale * square[2]
    to_picture = np.array([[2 * half / size, 0, square[0] - half], [0, 2 * half / size, square[1] - half]])
    return cv2.warpAffine(picture, to_picture, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE)


def scene(seed, *faces, size=(120, 160), blurred=False):
    """A picture with discs at (x, y, diameter) on a background of its own; each disc has marks of its own."""
    rng = np.random.default_rng(seed)
    picture = cv2.resize(rng.integers(0, 90, (9, 12, 3), np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)
    for x, y, diameter in faces:
        cv2.circle(picture, (x, y), diameter // 2, (230, 60, 40), -1)
        for _ in range(6):
            place = (rng.uniform(-0.3, 0.3, 2) * diameter + [x, y]).round().astype(int)
            cv2.circle(picture, place.tolist(), max(1, diameter // 12), (200, 0, 0), -1)
    return cv2.GaussianBlur(picture, (0, 0), 9) if blurred else picture


def save(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def video(path, pictures, fps=10.0):
    with VideoWriter(path, fps, pictures[0].shape[:2]) as writer:
        for picture in pictures:
            writer.write(picture)


def rows_of(folder):
    return read_table(folder / INDEX_FILE, REAL_FACES, file_format=INTAKE_FORMAT, remedy="")[0].to_pylist()


def run(tmp_path, **changes):
    out = tmp_path / "out"
    shutil.rmtree(out, ignore_errors=True)
    counts = take_in(tmp_path / "in", out, find=find, cut=cut, settings=SETTINGS if not changes else IntakeSettings(**(vars(SETTINGS) | changes)))
    return counts, rows_of(out), read_left_out(out)


@pytest.mark.parametrize("there", [True, False])
def test_an_empty_or_missing_folder_gives_an_empty_valid_output(tmp_path, there):
    if there:
        save(tmp_path / "in/.thumbnails/hidden.png", scene(0, (80, 60, 50)))
        (tmp_path / "in/README.md").write_text("no pictures yet")
    counts, rows, aside = run(tmp_path)
    assert counts["faces"] == counts["files"] == counts["files_set_aside"] == 0 and rows == aside == []
    faces = RealFaces.read(tmp_path / "out", "train")
    assert faces.images.shape == (0, 64, 64, 3) and faces.landmarks.shape == (0, len(LANDMARK_IDS), 2)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["crops.zarr", "faces.parquet", "quarantine.parquet"]


def test_faces_are_cut_where_they_are(tmp_path):
    picture = scene(1, (100, 50, 40), (40, 70, 30))
    save(tmp_path / "in/sub/two.png", picture)
    counts, rows, aside = run(tmp_path)
    assert counts == {"files": 1, "faces": 2, "faces_with_landmarks": 0, "files_set_aside": 0, "faces_left_out": 0, "by_split": {"train": 2, "test": 0}}
    assert [row["file"] for row in rows] == ["sub/two.png"] * 2 and aside == []
    assert rows[0]["placed_by"] == "found" and rows[0]["landmarks"] == []
    x0, y0, x1, y1 = rows[0]["box"]
    np.testing.assert_allclose([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0], [100, 50, 80], atol=2.5)
    crop = RealFaces.read(tmp_path / "out", "train").images[0]
    disc = find(crop)[0]
    np.testing.assert_allclose(disc, [32, 32, 32], atol=2)  # in the middle, half of the crop: cover is 2


def test_bad_files_are_named_and_set_aside(tmp_path):
    save(tmp_path / "in/good.png", scene(2, (80, 60, 50)))
    save(tmp_path / "in/nobody.png", scene(3))
    (tmp_path / "in/broken.jpg").write_bytes(b"nothing")
    (tmp_path / "in/film.mp4").write_bytes(b"no video at all" * 99)
    (tmp_path / "in/table.xlsx").write_bytes(b"x")
    (tmp_path / "in/gone.boxes.csv").write_text("x0,y0,x1,y1\n")
    save(tmp_path / "in/labelled.png", scene(4, (80, 60, 50)))
    (tmp_path / "in/labelled.boxes.csv").write_text("left,top\n")
    counts, rows, aside = run(tmp_path)
    reasons = {row["file"]: row["reason"] for row in aside}
    assert {row["file"] for row in rows} == {"good.png"} and counts["files_set_aside"] == 6 and all(row["faces"] == 0 for row in aside)
    assert "broken.jpg is not a picture" in reasons["broken.jpg"] and str(tmp_path) not in reasons["broken.jpg"]
    assert "film.mp4 is not a video" in reasons["film.mp4"]
    assert reasons["nobody.png"] == "no face found" and "neither a picture nor a video" in reasons["table.xlsx"]
    assert "labels of a picture or video that is not there" in reasons["gone.boxes.csv"]
    assert "labelled.boxes.csv must be a table" in reasons["labelled.png"]


def test_small_blurred_and_too_many_faces_are_left_out(tmp_path):
    save(tmp_path / "in/small.png", scene(5, (80, 60, 14)))
    save(tmp_path / "in/soft.png", scene(6, (80, 60, 60), blurred=True))
    save(tmp_path / "in/crowd.png", scene(7, (30, 40, 40), (80, 60, 44), (130, 80, 42)))
    counts, rows, aside = run(tmp_path, least_sharpness=0.2)
    assert {row["file"] for row in rows} == {"crowd.png"} and len(rows) == 2 and counts["faces_left_out"] == 3
    assert {(row["file"], row["faces"], row["reason"]) for row in aside} == {
        ("small.png", 1, "smaller than 20 px"), ("soft.png", 1, "blurred: sharpness below 0.2"), ("crowd.png", 1, "more than 2 faces")}
    assert min(row["face_px"] for row in rows) > 38  # the largest two


def test_exact_and_near_duplicates_are_dropped(tmp_path):
    picture = scene(8, (80, 60, 60))
    save(tmp_path / "in/a.png", picture)
    shutil.copy(tmp_path / "in/a.png", tmp_path / "in/b.png")
    save(tmp_path / "in/c.jpg", cv2.resize(picture, (240, 180), interpolation=cv2.INTER_CUBIC))
    save(tmp_path / "in/d.png", scene(9, (80, 60, 60)))
    _, rows, aside = run(tmp_path)
    assert [row["file"] for row in rows] == ["a.png", "d.png"]
    assert {(row["file"], row["reason"]) for row in aside} == {("b.png", "the same file as a.png"), ("c.jpg", "looks like a.png")}


def test_a_video_gives_frames_that_differ(tmp_path):
    frames = [scene(10 + min(number // 4, 3), (80, 60, 60)) for number in range(24)]  # four scenes, the last one longest
    video(tmp_path / "in/clip.mp4", frames)
    counts, rows, aside = run(tmp_path, frames_per_video=24)
    assert [row["frame"] for row in rows] == [0, 4, 8, 12] and counts["faces"] == 4
    assert [row["duplicates"] for row in rows] == [3, 3, 3, 11] and aside == [{"file": "clip.mp4", "faces": 20, "reason": "looks like another frame"}]
    assert len({row["duplicate_group"] for row in rows}) == 1
    limited, rows, _ = run(tmp_path, frames_per_video=3)
    assert limited["faces"] <= 3 and rows[-1]["frame"] == 16  # spread over the whole


def test_landmarks_place_the_face_and_are_kept_in_the_crop(tmp_path):
    video(tmp_path / "in/clip.mp4", [scene(20 + number, (80, 60, 60)) for number in range(4)])
    angles = np.linspace(0, 2 * np.pi, 478, endpoint=False)
    points = np.stack([90 + 25 * np.cos(angles), 55 + 25 * np.sin(angles)], axis=-1)[None].repeat(4, axis=0)
    points[2] = np.nan
    np.savez(tmp_path / "in/clip.landmarks.npz", landmarks=points)
    (tmp_path / "in/clip.boxes.csv").write_text("frame,x0,y0,x1,y1\n0,60,30,120,90\n2,20,20,100,100\n")
    counts, rows, _ = run(tmp_path)
    by_frame = {row["frame"]: row for row in rows}
    assert {frame: row["placed_by"] for frame, row in by_frame.items()} == {0: "landmarks", 1: "landmarks", 2: "box", 3: "landmarks"}
    assert counts["faces_with_landmarks"] == 3
    x0, y0, x1, y1 = by_frame[2]["box"]
    np.testing.assert_allclose([(x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2], [60, 60 + 0.12 * 80, 0.54 * 80], atol=1e-4)
    faces = RealFaces.read(tmp_path / "out", "train")
    assert faces.landmark_ids == LANDMARK_IDS and faces.cover == 2.0
    x0, y0, x1, y1 = by_frame[1]["box"]
    back = faces.landmarks[by_frame[1]["crop"]] * (x1 - x0) / 64 + [x0, y0]
    np.testing.assert_allclose(back, points[1, list(LANDMARK_IDS)], atol=1e-3)
    assert np.isnan(faces.landmarks[by_frame[2]["crop"]]).all()


def test_frames_of_one_video_and_files_that_look_alike_are_on_one_side(tmp_path):
    for number in range(24):
        save(tmp_path / f"in/photo_{number:02d}.png", scene(100 + number, (80, 60, 60)))
    frames = [scene(200 + number, (80, 60, 60)) for number in range(8)]
    video(tmp_path / "in/one.mp4", frames)
    video(tmp_path / "in/other.mkv", [*frames[5:], *(scene(300 + number, (80, 60, 60)) for number in range(4))])  # begins as the first one ends
    counts, rows, _ = run(tmp_path, test_share=0.4)
    sides = {}
    for row in rows:
        sides.setdefault(row["file"], set()).add((row["split"], row["duplicate_group"]))
    assert all(len(one) == 1 for one in sides.values()) and sides["one.mp4"] == sides["other.mkv"]
    assert len({group for one in sides.values() for _, group in one}) == 25
    assert 0 < counts["by_split"]["test"] < counts["faces"]
    before = {row["file"]: row["split"] for row in rows}
    save(tmp_path / "in/aaa_new.png", scene(400, (80, 60, 60)))
    assert {row["file"]: row["split"] for row in run(tmp_path, test_share=0.4)[1] if row["file"] != "aaa_new.png"} == before
    train, test = (RealFaces.read(tmp_path / "out", split) for split in ("train", "test"))
    assert len(train.images) + len(test.images) == counts["faces"] + 1


def test_the_same_footage_gives_the_same_bytes(tmp_path):
    save(tmp_path / "in/a.png", scene(8, (80, 60, 60)))
    video(tmp_path / "in/clip.mp4", [scene(number, (80, 60, 60)) for number in range(4)])
    contents = []
    for _ in range(2):
        run(tmp_path)
        contents.append({path.relative_to(tmp_path): path.read_bytes() for path in sorted((tmp_path / "out").rglob("*")) if path.is_file()})
    assert contents[0] == contents[1] and len(contents[0]) >= 4


def test_a_folder_that_is_no_intake(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"faces.parquet is missing. Run: dvc repro intake"):
        RealFaces.read(tmp_path, "train")
    (tmp_path / "in").mkdir()
    run(tmp_path)
    shutil.rmtree(tmp_path / "out/crops.zarr")
    with pytest.raises(FileNotFoundError, match=r"crops.zarr is missing"):
        RealFaces.read(tmp_path / "out", "train")


def test_real_footage(tmp_path, shared_data):
    """Cascades find the faces of photographs, and none in a flower shirt."""
    from serep.models.face_finders import FINDERS, cut_square

    for name in ("face_recognition_biden.jpg", "face_recognition_obama-720p.jpg", "skimage_astronaut.png", "liveportrait_examples-source-s33.jpg"):
        (tmp_path / "in").mkdir(exist_ok=True)
        shutil.copy(shared_data / "real/images" / name, tmp_path / "in" / name)
    counts = take_in(tmp_path / "in", tmp_path / "out", find=FINDERS["cascades"], cut=cut_square,
                     settings=IntakeSettings(**(vars(SETTINGS) | {"least_face_px": 40.0, "least_sharpness": 0.04})))
    assert counts["faces"] == 3 and counts["files"] == 3


def test_a_face_of_one_picture_in_another_is_not_kept_twice_and_both_are_on_one_side(tmp_path):
    """A montage: the pictures as wholes are unlike, and the portrait in it is the one that is there already."""
    portrait, other = scene(41, (80, 60, 60)), scene(42, (80, 60, 50))
    save(tmp_path / "in/a.png", portrait)
    save(tmp_path / "in/montage.png", np.hstack([other, portrait]))
    for seed in range(8):
        save(tmp_path / f"in/other{seed}.png", scene(50 + seed, (60 + 4 * seed, 60, 40)))
    _, rows, aside = run(tmp_path, test_share=0.5)
    found = {row["file"]: row for row in rows if row["file"] in ("a.png", "montage.png")}
    assert [row["file"] for row in rows].count("montage.png") == 1 and found["a.png"]["duplicates"] == 1
    assert {"file": "montage.png", "faces": 1, "reason": "looks like a face of a.png"} in aside
    assert found["a.png"]["split"] == found["montage.png"]["split"] and found["a.png"]["duplicate_group"] == found["montage.png"]["duplicate_group"]
    assert {row["split"] for row in rows} == {"train", "test"}
