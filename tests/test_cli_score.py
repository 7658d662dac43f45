"""`serep score ...` as a user calls it."""
import json
import shutil

import numpy as np
import pytest
from multirex_world import PEOPLE, flame_neutral, motion, write_world
from typer.testing import CliRunner

from serep.cli import app


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("multirex_world"), frames=6)


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def score(world, out, *more, predictions=None):
    return run("score", "multirex", "--predictions", predictions or world.predictions, "--ground-truth", world.truth, "--assets", world.assets, "--out", out,
               "--resamples", 200, *more)  # fmt: skip


def refused(result, *words):
    """Status 1 and one line on stderr that holds all the words."""
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), (result.output, result.exception)
    assert not result.stdout and result.stderr.startswith("serep: ") and result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert str(word) in result.stderr, result.stderr


def test_score_writes_tables_and_pictures(world, tmp_path):
    out = tmp_path / "out"
    result = score(world, out)
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in out.iterdir()) == [
        "error_map_people.jpg", "error_map_views.jpg", "per_frame.parquet", "scores.html", "scores.md", "summary.json"]  # fmt: skip
    summary = json.loads((out / "summary.json").read_text())
    assert summary["method"] == world.predictions.parent.name and f"fixed {summary['fixed']['mean_of_region_means_mm']:.3f} mm" in result.stdout
    page, text = (out / "scores.html").read_text(), (out / "scores.md").read_text()
    assert page.count("data:image/jpeg;base64,") == 2 and "error_map_views.jpg" in text and "may not be shared" in page
    for table in ("Regions (mm)", "Views (mm)", "People and views (fixed, mm)", "Motion"):
        assert f"<h2>{table}</h2>" in page and f"## {table}" in text
    assert f"| {number(summary, 'mouth_region')} |" in text and "| 002222 Profile | 6 |" in text


def number(summary, region):
    return f"{summary['fixed']['region_mean_mm'][region]:.3f}"


def test_the_folder_above_will_do_and_warnings_come_out(world, tmp_path):
    """The whole folder of the official layout; a mirrored set is said on stderr, first of all."""
    mirrored = tmp_path / "mine" / "decoded_flame_meshes"
    mirrored.mkdir(parents=True)
    for path in world.predictions.iterdir():
        np.save(mirrored / path.name, np.load(path) * np.float32([-1, 1, 1]))
    result = score(world, tmp_path / "out", "--no-pictures", predictions=mirrored.parent)
    assert result.exit_code == 0 and result.stderr.startswith("MIRRORED: 48 of 48 frames") and "mine, 8 videos" in result.stdout
    assert not list((tmp_path / "out").glob("*.jpg"))
    assert (tmp_path / "out" / "scores.md").read_text().startswith("# MultiREX: mine\n\nMIRRORED: 48 of 48 frames")


def test_a_refused_set_leaves_no_summary(world, tmp_path):
    """Nothing that could be taken for a result: an earlier one in the folder stays as it was."""
    predictions = shutil.copytree(world.predictions, tmp_path / "predictions")
    path = predictions / f"{PEOPLE['33'][0]}#400275.npy"
    path.unlink()
    refused(score(world, tmp_path / "out", predictions=predictions), "1 of 8 videos have no prediction", path.stem)
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    refused(score(world, tmp_path / "file"), "is a file: give the name of a folder")


def test_compare(world, tmp_path):
    half = shutil.copytree(world.predictions, tmp_path / "half")
    for identity, (sequence, cameras) in PEOPLE.items():
        for camera in cameras:
            neutral = flame_neutral(identity)
            np.save(half / f"{sequence}{camera}.npy", ((neutral + 0.5 * motion(neutral, 6)) / 1000).astype(np.float32))
    for name, predictions in (("exact", world.predictions), ("half", half)):
        assert score(world, tmp_path / name, "--name", name, "--no-pictures", predictions=predictions).exit_code == 0
    result = run("score", "compare", tmp_path / "half", tmp_path / "exact", "--out", tmp_path / "comparison", "--resamples", 200)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.index("| **exact** |") < result.stdout.index("| half |")
    content = json.loads((tmp_path / "comparison" / "comparison.json").read_text())
    assert content["pairs"][0]["noise"] is True  # three people show no difference, however large
    refused(run("score", "compare", tmp_path / "half"), "at least two scored methods, got 1")
    refused(run("score", "compare", tmp_path / "half", tmp_path), "holds no score: per_frame.parquet is missing")


def test_map(world, tmp_path):
    result = run("score", "map", "--neutrals", world.assets / "Neutrals_FLAME", "--assets", world.assets, "--out", tmp_path / "maps", "--unit", "m")
    assert result.exit_code == 0 and result.stdout.count("floor mouth 0.0") == len(PEOPLE), result.output
    result = score(world, tmp_path / "out", "--map", tmp_path / "maps", "--no-pictures")
    assert result.exit_code == 0, result.stderr
    refused(run("score", "map", "--neutrals", tmp_path, "--assets", world.assets, "--out", tmp_path / "none"), "0 neutrals of person 1111")
    refused(run("score", "map", "--assets", world.assets, "--out", tmp_path / "none"), "give either --neutrals")


def test_groups_without_a_command_show_help():
    for group in ("score", "fetch"):
        assert "multirex" in run(group).output
