"""Heads survive storage unchanged, the same heads give the same bytes, and a wrong folder says what is wrong."""
import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serep.data.heads import HeadSet, gather_heads, read_heads, read_quarantine, write_heads
from serep.data.schema import MESHES, QUARANTINE, schema_differences
from serep.faces.head_model import Subject

QUARANTINED = [("bo", "bo/smile.obj", "3 vertices are not finite"), ("ed", "ed/neutral.obj", "unreadable")]


def assert_same(found: HeadSet, expected: HeadSet) -> None:
    for field in dataclasses.fields(HeadSet):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if field.name == "topology":
            stored, original = one.to_arrays(), other.to_arrays()
            assert set(stored) == set(original)
            for name, values in original.items():
                np.testing.assert_array_equal(stored[name], values, err_msg=name)
        elif isinstance(other, np.ndarray):
            np.testing.assert_array_equal(one, other, err_msg=field.name)
            assert one.dtype == other.dtype
        else:
            assert one == other, field.name


def fingerprint(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def folder(tmp_path, tiny_heads) -> Path:
    write_heads(tmp_path / "heads", tiny_heads, quarantine=QUARANTINED)
    return tmp_path / "heads"


def test_round_trip(folder, tiny_heads):
    assert_same(read_heads(folder), tiny_heads)
    assert read_quarantine(folder) == QUARANTINED
    assert not list(folder.parent.glob("*.partial"))


def test_same_heads_same_bytes(folder, tiny_heads):
    before = fingerprint(folder)
    write_heads(folder, tiny_heads, quarantine=QUARANTINED)
    assert fingerprint(folder) == before


@pytest.mark.parametrize("shares_frame", [False, True])
def test_whether_the_neutrals_share_a_frame_is_kept(tmp_path, tiny_heads, shares_frame):
    write_heads(tmp_path / "heads", dataclasses.replace(tiny_heads, shares_frame=shares_frame), quarantine=[])
    assert read_heads(tmp_path / "heads").select("train").shares_frame is shares_frame


def test_masks_come_back_in_the_alphabet_s_order(tmp_path, tiny_heads):
    regions = {name: tiny_heads.topology.template[:, 0] * 0 for name in ("nose", "cheek", "mouth", "face", "lips")}
    write_heads(tmp_path / "heads", dataclasses.replace(tiny_heads, topology=dataclasses.replace(tiny_heads.topology, regions=regions)), quarantine=[])
    assert list(read_heads(tmp_path / "heads").topology.regions) == sorted(regions)


def test_an_older_folder_is_replaced(folder, tiny_heads):
    write_heads(folder, tiny_heads.select("test"), quarantine=[])
    assert read_heads(folder).subject_ids == ("ed",) and read_quarantine(folder) == []


def test_scans_without_weights_and_people_without_expressions(tmp_path, tiny_heads):
    scans = dataclasses.replace(tiny_heads, weights=np.zeros((7, 0), np.float32), expression_names=(),
                                neutral_files=tuple(f"{name}/neutral.obj" for name in tiny_heads.subject_ids))
    write_heads(tmp_path / "scans", scans, quarantine=[])
    assert_same(read_heads(tmp_path / "scans"), scans)
    lonely = tiny_heads.take([1])
    write_heads(tmp_path / "lonely", lonely, quarantine=[])
    found = read_heads(tmp_path / "lonely")
    assert found.expressive.shape == lonely.expressive.shape == (0, 162, 3) and found.subject_ids == ("bo",)


def test_select_renumbers(tiny_heads):
    train = tiny_heads.select("train")
    assert train.subject_ids == ("ann", "bo", "cy") and train.expression_subject.tolist() == [0, 0, 0, 2, 2]
    test = tiny_heads.select("test")
    assert test.expression_subject.tolist() == [0] and test.expression_ids == ("test-0",)
    np.testing.assert_array_equal(test.expressive[0], tiny_heads.expressive[6])
    with pytest.raises(ValueError, match="unknown split 'all'"):
        tiny_heads.select("all")
    some = tiny_heads.take([2, 0], without=[4])
    assert some.subject_ids == ("cy", "ann") and some.expression_ids == ("a", "b", "c", "d") and some.expression_subject.tolist() == [1, 1, 1, 0]


@pytest.mark.parametrize(("changes", "message"), [
    ({"subject_ids": ("ann", "bo", "cy", "di", "di")}, "subject ids repeat: .'di'"),
    ({"subject_ids": ("ann",)}, "subject_ids has 1 entries for 5 meshes"),
    ({"subject_splits": ("train",) * 4 + ("dev",)}, "unknown splits .'dev'"),
    ({"expression_subject": np.array([0, 0, 0, 2, 2, 3, 5], np.int32)}, "rows 0 to 5 of 5 neutrals"),
    ({"neutrals": np.zeros((5, 9, 3), np.float32), "expressive": np.zeros((7, 9, 3), np.float32)}, "ball has 162 vertices, the meshes 9 and 9"),
])
def test_a_head_set_must_fit_together(tiny_heads, changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(tiny_heads, **changes)


def test_missing_and_damaged_files_are_named(folder):
    with pytest.raises(FileNotFoundError, match=r"none/manifest\.parquet is missing. Run: dvc repro"):
        read_heads(folder.parent / "none")
    chunk = folder / "meshes.zarr/expressive/c/0/0/0"
    data = bytearray(chunk.read_bytes())
    data[100] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(ValueError, match=r"meshes\.zarr/expressive is damaged .*dvc repro"):
        read_heads(folder)
    chunk.unlink()
    with pytest.raises(ValueError, match=r"meshes\.zarr/expressive has 0 of 1 chunk files"):
        read_heads(folder)
    shutil.rmtree(folder / "meshes.zarr/expressive")
    with pytest.raises(ValueError, match=r"has no array 'expressive' \(found: neutrals\)"):
        read_heads(folder)
    (folder / "manifest.parquet").write_bytes(b"not parquet")
    with pytest.raises(ValueError, match=r"manifest\.parquet is not a readable Parquet file"):
        read_heads(folder)


def test_wrong_schema_is_named(folder):
    file = folder / "manifest.parquet"
    table = pq.read_table(file)
    pq.write_table(table.drop_columns(["split"]).append_column("age", pa.array([1] * len(table))), file)
    with pytest.raises(ValueError, match=r"manifest\.parquet does not fit its schema: no field 'split'; unknown field 'age'"):
        read_heads(folder)
    pq.write_table(table.replace_schema_metadata({"format": "serep-heads/0"}), file)
    with pytest.raises(ValueError, match="has format 'serep-heads/0', this version reads 'serep-heads/1'"):
        read_heads(folder)
    pq.write_table(table.slice(0, 4).replace_schema_metadata(table.schema.metadata), file)
    with pytest.raises(ValueError, match=r"lists 4 neutral meshes, .*meshes\.zarr holds 5"):
        read_heads(folder)


def test_every_field_says_its_unit_and_meaning(folder):
    for name, schema in [("manifest.parquet", MESHES), ("quarantine.parquet", QUARANTINE)]:
        stored = pq.read_schema(folder / name)
        assert not schema_differences(stored, schema)
        assert all(field.metadata[b"unit"] and len(field.metadata[b"description"]) > 5 for field in stored)
        assert json.loads(stored.metadata[b"provenance"]) == {"source": "balls"}


def person(name: str, ball, **changes) -> Subject:
    values = {"subject_id": name, "split": "train", "neutral": ball.template, "expression_ids": ("a", "b"), "weights": np.ones((2, 3)),
              "expressive": np.stack([ball.template, ball.template + 1])}
    return Subject(**(values | changes))


def test_gather_keeps_order_files_and_problems(ball):
    scanned = person("bo", ball, source_files=("bo/n.obj", "bo/a.obj", "bo/b.obj"), problems=(("bo/c.obj", "has 3 vertices"),), origin="studio")
    no_neutral = person("cy", ball, neutral=np.zeros((0, 3)), expression_ids=(), weights=np.zeros((0, 3)), expressive=np.zeros((0, 0, 3)),
                        problems=(("cy/n.obj", "unreadable"),))
    heads, problems = gather_heads([person("ann", ball), no_neutral, scanned], topology=ball, expression_names=("x", "y", "z"), provenance={})
    assert not heads.shares_frame
    assert gather_heads([person("ann", ball)], topology=ball, expression_names=("x", "y", "z"), provenance={}, shares_frame=True)[0].shares_frame
    assert heads.subject_ids == ("ann", "bo") and heads.expression_subject.tolist() == [0, 0, 1, 1]
    assert heads.expressive_files == ("", "", "bo/a.obj", "bo/b.obj") and heads.neutral_files == ("", "bo/n.obj")
    assert problems == [("cy", "cy/n.obj", "unreadable"), ("bo", "bo/c.obj", "has 3 vertices")] and heads.subject_origins == ("", "studio")
    with pytest.raises(ValueError, match="bo has 1 source files for 1 neutral and 2 expressions"):
        gather_heads([person("bo", ball, source_files=("n.obj",))], topology=ball, expression_names=(), provenance={})
    with pytest.raises(ValueError, match="nobody"):
        gather_heads([no_neutral], topology=ball, expression_names=(), provenance={})
