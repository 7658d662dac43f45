"""params.yaml fits its schema, and a wrong one is refused with every key named."""
from pathlib import Path

import pytest
import yaml

from serep.config import ParamsError, load_params

ROOT = Path(__file__).resolve().parent.parent


def _write(folder, params):
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder


@pytest.fixture
def params():
    return yaml.safe_load((ROOT / "params.yaml").read_text())


def test_the_project_s_own_params_load():
    params = load_params(ROOT)
    assert params.semantic.kind in params.semantic.kinds
    with pytest.raises(ValueError, match="frozen"):
        params.heads.seed = 3


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml")))
def test_profiles_fit(name, params, tmp_path):
    def merge(base, over):
        for key, value in over.items():
            assert key in base, f"{name}: unknown key {key}"
            if isinstance(value, dict):
                merge(base[key], value)
            else:
                base[key] = value

    merge(params, yaml.safe_load((ROOT / "profiles" / f"{name}.yaml").read_text()))
    load_params(_write(tmp_path, params))


def test_unknown_missing_and_wrong_keys_are_all_named(params, tmp_path):
    params["heads"]["sead"] = 1
    del params["heads"]["seed"]
    params["preprocess"]["max_quarantine_share"] = "many"
    with pytest.raises(ParamsError) as error:
        load_params(_write(tmp_path, params))
    text = str(error.value)
    assert "heads.sead: unknown key" in text
    assert "heads.seed: missing" in text
    assert "preprocess.max_quarantine_share" in text
    assert "many" in text


def test_choices_of_the_heads_reach_plan_and_reader(params, tmp_path):
    params["heads"] |= {"held_out_units": ["mouthSmile"], "blink_share": 0.3, "train_population": "asian", "expression_transfer": "cloning"}
    heads = load_params(_write(tmp_path, params)).heads
    assert heads.plan().held_out_units == ("mouthSmile",) and heads.plan().blink_share == 0.3
    assert heads.reader_options() == {"train_population": "asian", "test_population": "all", "expression_transfer": "cloning"}
    params["heads"] |= {"source": "folder", "expression_transfer": "copied"}
    with pytest.raises(ParamsError, match=r"heads\.expression_transfer"):
        load_params(_write(tmp_path, params))
    params["heads"]["expression_transfer"] = "deformation"
    assert load_params(_write(tmp_path, params)).heads.reader_options().keys() >= {"unit", "up", "front", "held_out", "train_population"}


def test_numbers_that_yaml_reads_as_text(params, tmp_path):
    params["preprocess"]["max_quarantine_share"] = "1e-1"
    assert load_params(_write(tmp_path, params)).preprocess.max_quarantine_share == 0.1


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="params.yaml is missing"):
        load_params(tmp_path)
    (tmp_path / "params.yaml").write_text("a: [1")
    with pytest.raises(ParamsError, match="not YAML"):
        load_params(tmp_path)


@pytest.mark.parametrize(("key", "value", "message"), [
    ("backend", "blender", "render.backend: Input should be 'pyrender' or 'numba' (got 'blender')"),
    ("executor", "ray", "render.executor: Input should be 'processes' or 'dask' (got 'ray')"),
    ("store", "bucket/prefix", "the store 'bucket/prefix' is not a URL; write s3://bucket/prefix"),
    ("store", "s3://key:hidden@bucket", "holds credentials or a query"),
    ("codes", {"training": 0.9}, "must sum to 1, got training 0.9"),
])
def test_renders_that_cannot_be(params, tmp_path, key, value, message):
    params["render"][key] = params["render"][key] | value if isinstance(value, dict) else value
    with pytest.raises(ParamsError) as error:
        load_params(_write(tmp_path, params))
    assert message in str(error.value)


def test_credentials_of_a_store_are_not_shown(params, tmp_path):
    params["render"]["store"] = "s3://key:hidden@bucket"
    with pytest.raises(ParamsError) as error:
        load_params(_write(tmp_path, params))
    assert "hidden" not in str(error.value)


@pytest.mark.parametrize(("change", "message"), [
    (lambda one: one["ranges"].update(yaw_max=3.0), "simulated: ranges has keys that render.ranges has not: yaw_max"),
    (lambda one: one["camera"].update(veil=2.0), "veil of the simulated camera must not be negative, nor exceed 1"),
    (lambda one: one["parts"].pop("simulated-test"), "simulated: parts has none of the split 'test'"),
    (lambda one: one["parts"].update(val=dict(one["parts"]["simulated-test"])), "no name may be in both: val"),
    (lambda one: one["ranges"].update(view_min_deg=90.0, view_max_deg=80.0), "view_min_deg = 90.0 exceeds view_max_deg"),
])
def test_a_simulated_domain_that_cannot_be_drawn(params, tmp_path, change, message):
    change(params["simulated"])
    with pytest.raises(ParamsError) as caught:
        load_params(_write(tmp_path, params))
    assert message in str(caught.value)


def test_the_simulated_domain_has_the_other_renders_ranges_but_where_it_says_otherwise(params):
    loaded = load_params(ROOT)
    ranges = loaded.simulated.scene_ranges(loaded.render.ranges)
    assert ranges.view_max_deg == params["simulated"]["ranges"]["view_max_deg"] != params["render"]["ranges"]["view_max_deg"]
    assert ranges.yaw_max_deg == params["render"]["ranges"]["yaw_max_deg"]


def test_overrides_change_values_that_are_there(params, tmp_path):
    changed = load_params(_write(tmp_path, params), {"heads.seed": 7, "release.gate.found.bound": None, "heads.path": "/data/scans"})
    assert changed.heads.seed == 7 and changed.release.bars()["found"].bound is None and changed.heads.path == Path("/data/scans")
    for key in ("heads.sead", "head.seed", "heads.seed.deeper"):
        with pytest.raises(ParamsError, match=rf"^{key}: params\.yaml has no such key"):
            load_params(tmp_path, {key: 1})
    with pytest.raises(ParamsError, match=r"heads\.seed: .*integer.* \(got 'many'\)"):
        load_params(tmp_path, {"heads.seed": "many"})


@pytest.mark.parametrize(("metric", "message"), [
    ({"margin": -1}, "release.gate.found.margin: Input should be greater than or equal to 0 (got -1)"),
    ({"better": "bigger"}, "release.gate.found.better: Input should be 'lower' or 'higher' (got 'bigger')"),
])
def test_gates_that_cannot_be(params, tmp_path, metric, message):
    params["release"]["gate"]["found"] |= metric
    with pytest.raises(ParamsError) as error:
        load_params(_write(tmp_path, params))
    assert message in str(error.value)
