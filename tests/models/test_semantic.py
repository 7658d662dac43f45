import json

import numpy as np
import pytest
from small_heads import small_heads, training_options

from serep.geometry.mesh import Mesh
from serep.models.semantic import SEMANTIC_KINDS, TOPOLOGY_FILE, SemanticModel
from serep.models.store import load_arrays, load_weights, save_weights
from serep.training.semantic_task import train_semantic

KINDS = tuple(SEMANTIC_KINDS)


@pytest.fixture(scope="module")
def heads():
    return small_heads()


@pytest.fixture(scope="module")
def models(heads):
    return {kind: train_semantic(heads, **training_options(kind=kind, steps=20))[0] for kind in KINDS}


@pytest.fixture(scope="module")
def person(heads):
    test = heads.select("test")
    return heads.topology.mesh(test.neutrals[0]), test.expressive[test.expression_subject == 0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_neutral_has_the_code_zero_and_the_code_zero_shows_the_neutral(models, person, kind):
    neutral, expressive = person
    codes = models[kind].encode(neutral, np.concatenate([neutral.vertices[None].astype(np.float32), expressive]))
    assert codes.shape == (len(expressive) + 1, 5) and codes.dtype == np.float32
    assert np.abs(codes[0]).max() < 1e-4 * np.abs(codes[1:]).max()
    posed = models[kind].bind(neutral).pose(np.zeros((1, 5), np.float32))
    np.testing.assert_allclose(posed[0], neutral.vertices, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_expressions_are_rebuilt(models, person, kind):
    neutral, expressive = person
    posed = models[kind].bind(neutral).pose(models[kind].encode(neutral, expressive))
    motion = np.linalg.norm(expressive - neutral.vertices, axis=-1).mean()
    assert np.linalg.norm(posed - expressive, axis=-1).mean() < 0.4 * motion


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_model_gives_the_same_codes_and_meshes(models, person, kind, tmp_path):
    neutral, expressive = person
    models[kind].save(tmp_path / kind)
    loaded = SemanticModel.load(tmp_path / kind)
    assert loaded.kind == kind and loaded.topology.name == "sheet"
    codes = models[kind].encode(neutral, expressive)
    np.testing.assert_array_equal(loaded.encode(neutral, expressive), codes)
    np.testing.assert_array_equal(loaded.bind(loaded.mean_neutral).pose(codes), models[kind].bind(models[kind].mean_neutral).pose(codes))
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_fitted_codes_have_even_numbers_and_the_linear_ones_unit_deviation(models, heads):
    train = heads.select("train")
    for kind in ("gradient_fit", "gradient_pca", "displacement_pca"):
        model = models[kind]
        codes = np.concatenate([
            model.encode(heads.topology.mesh(neutral), train.expressive[train.expression_subject == row]) for row, neutral in enumerate(train.neutrals)
        ])  # fmt: skip
        np.testing.assert_allclose(np.sqrt((codes**2).mean(axis=0)), 1, rtol=0.15)
        np.testing.assert_allclose(codes.std(axis=0), model.code_deviation, rtol=1e-3)


def test_wrong_meshes_are_refused(models, person):
    model, (neutral, expressive) = models["gradient_fit"], person
    with pytest.raises(ValueError, match=r"expects 225 vertices \(topology 'sheet'\), the neutral has 224"):
        model.bind(Mesh(neutral.vertices[:-1], neutral.faces[(neutral.faces < 224).all(axis=1)]))
    with pytest.raises(ValueError, match="the expressive mesh has 224"):
        model.encode(neutral, expressive[:, :-1])
    with pytest.raises(ValueError, match="faces are not those of the model's topology"):
        model.bind(Mesh(neutral.vertices, neutral.faces[::-1]))
    broken = expressive.copy()
    broken[2, 7] = np.nan
    with pytest.raises(ValueError, match="expressive mesh has 1 vertices with NaN"):
        model.encode(neutral, broken)


def test_folders_that_hold_no_semantic_model_are_refused(models, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        SemanticModel.load(tmp_path / "nothing")
    models["gradient_pca"].save(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps(config | {"kind": "capture"}))
    with pytest.raises(ValueError, match="kind 'capture'.*displacement_pca"):
        SemanticModel.load(tmp_path / "model")


@pytest.mark.parametrize("name", ["weights.safetensors", "topology.npz"])
def test_a_changed_or_missing_file_is_named(models, tmp_path, name):
    models["neural"].save(tmp_path / "model")
    path = tmp_path / "model" / name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match=f"{name} is not the file that was saved"):
        SemanticModel.load(tmp_path / "model")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing"):
        SemanticModel.load(tmp_path / "model")


def test_a_folder_of_another_version_is_refused(models, tmp_path):
    models["neural"].save(tmp_path / "model")
    state, config = load_weights(tmp_path / "model")
    arrays = load_arrays(tmp_path / "model", TOPOLOGY_FILE, config)
    del state["shape_modes"]
    save_weights(tmp_path / "model", state, {"kind": "neural", "sizes": config["sizes"]}, arrays={TOPOLOGY_FILE: arrays})
    with pytest.raises(ValueError, match=r"model was saved by another version of serep: Missing key.*shape_modes.*Train the model again"):
        SemanticModel.load(tmp_path / "model")
    save_weights(tmp_path / "model", state, {"kind": "neural", "sizes": config["sizes"] | {"heads": 3}}, arrays={TOPOLOGY_FILE: arrays})
    with pytest.raises(ValueError, match="saved by another version of serep: .*unexpected keyword argument 'heads'"):
        SemanticModel.load(tmp_path / "model")
