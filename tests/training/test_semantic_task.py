import dataclasses

import numpy as np
import pytest
import torch
from small_heads import UNITS, small_heads, training_options, unit_displacements

from serep.benchmark.retargeting import score_semantic
from serep.models.gradient_basis import fit_matrix
from serep.training.semantic_fit import bind_people
from serep.training.semantic_task import SemanticTask, train_semantic


@pytest.fixture(scope="module")
def heads():
    return small_heads()


@pytest.fixture(scope="module")
def linear(heads):
    return train_semantic(heads, **training_options(kind="gradient_fit"))[0]


def test_errors_in_coefficients_are_vertex_errors(heads, linear):
    test = heads.select("test")
    person = bind_people(linear, test)[0]
    neutral, expressive = heads.topology.mesh(test.neutrals[0]), test.expressive[test.expression_subject == 0]
    coefficients = person.coefficients + 0.1
    posed = neutral.vertices + np.tensordot(coefficients, linear.bind(neutral).basis, 1)
    by_hand = np.sqrt(((posed - expressive) ** 2).sum(-1).mean(-1))
    np.testing.assert_allclose(person.error(coefficients), by_hand, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(person.coefficients, linear.fit(neutral, expressive), atol=1e-6)
    assert person.rows([3, 1]).expression_ids == (person.expression_ids[3], person.expression_ids[1])


def test_the_length_of_coefficients_is_mm_on_the_average_training_person(heads, linear):
    products = np.mean([person.products for person in bind_people(linear, heads.select("train"))], axis=0)
    used = linear.mode_deviation.numpy() > 1e-3
    np.testing.assert_allclose(products[np.ix_(used, used)], np.eye(used.sum()), atol=0.01)
    assert (np.diff(linear.mode_deviation.numpy()) <= 0).all()


def test_training_lowers_the_loss(heads):
    seen = []
    longer = training_options(steps=600, width=64, mix_share=0.0, on_metrics=lambda values, step: seen.append(step))
    _, rows = train_semantic(heads, **longer)
    assert rows[-1]["reconstruction"] < 0.6 * rows[0]["reconstruction"]
    assert {"reconstruction", "cycle", "code", "identity", "val_reconstruction_rms_mm", "val_retargeting_rms_mm"} < rows[-1].keys()
    assert seen == [int(row["step"]) for row in rows]


def test_the_best_validated_weights_are_kept(heads, linear):
    val = heads.select("val")
    neutral, expressive = heads.topology.mesh(val.neutrals[0]), val.expressive[val.expression_subject == 0]
    learned, _ = train_semantic(heads, **training_options(width=64, steps=400, mix_share=0.2))
    ruined, rows = train_semantic(heads, **training_options(learning_rate=0.3, gradient_clip=0.0, steps=30))

    def error(model):
        return np.linalg.norm(model.bind(neutral).pose(model.encode(neutral, expressive)) - expressive, axis=-1).mean()

    assert error(learned) < error(linear)
    assert rows[-1]["val_reconstruction_rms_mm"] > 1.5 * error(linear)
    np.testing.assert_allclose(ruined.encode(neutral, expressive), linear.encode(neutral, expressive), atol=1e-3)


def test_validation_of_the_task_is_the_error_of_posed_meshes(heads):
    model, rows = train_semantic(heads, **training_options(steps=10, learning_rate=1e-4))
    val = heads.select("val")
    errors = []
    for person, vertices in enumerate(val.neutrals):
        neutral, expressive = heads.topology.mesh(vertices), val.expressive[val.expression_subject == person]
        posed = model.bind(neutral).pose(model.encode(neutral, expressive))
        errors.append(np.sqrt(((posed - expressive) ** 2).sum(-1).mean(-1)).mean())
    assert rows[-1]["val_reconstruction_rms_mm"] == pytest.approx(np.mean(errors), rel=1e-3)


@pytest.mark.parametrize("kind", ["displacement_pca", "gradient_pca", "gradient_fit", "neural"])
def test_the_same_seed_gives_the_same_model(heads, kind):
    first, second = (train_semantic(heads, **training_options(kind=kind, steps=5))[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_second_round_makes_the_basis_fit_other_people_better(heads, monkeypatch):
    errors = []
    for rounds in (1, 2):
        monkeypatch.setattr("serep.training.semantic_fit.BASIS_ROUNDS", rounds)
        model = train_semantic(heads, **training_options(kind="gradient_fit", code_size=9))[0]
        errors.append(score_semantic(model, heads.select("test"), max_pairs=6, seed=0)["retargeting_mm"])
    assert errors[1] < 0.95 * errors[0]


def test_the_order_of_the_meshes_does_not_matter(heads, linear):
    train = heads.select("train")
    order = np.random.default_rng(0).permutation(len(train.expressive))
    shuffled = dataclasses.replace(
        train, expressive=train.expressive[order], expression_subject=train.expression_subject[order], weights=train.weights[order],
        expression_ids=tuple(train.expression_ids[row] for row in order))  # fmt: skip
    model = train_semantic(shuffled, **training_options(kind="gradient_fit"))[0]
    neutral, expressive = heads.topology.mesh(train.neutrals[0]), train.expressive[:10]
    posed, expected = (one.bind(neutral).pose(one.encode(neutral, expressive)) for one in (model, linear))
    np.testing.assert_allclose(posed, expected, atol=0.02)


def test_training_leaves_the_global_random_state_alone(heads):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    train_semantic(heads, **training_options(steps=3))
    assert torch.equal(torch.rand(1), expected)


def test_terms_of_weight_zero_are_not_computed(heads):
    weights = {"reconstruction": 1.0, "cycle": 0.0, "code": 0.0, "identity": 0.0}
    _, rows = train_semantic(heads, **training_options(steps=5, weights=weights, log_every=1))
    assert rows[0].keys() == {"step", "reconstruction", "total"}


def test_the_cycle_refits_as_posing_and_encoding_would(heads, linear):
    """The matrix that the task uses instead of posing a mesh and fitting it again."""
    train = heads.select("train")
    people = bind_people(linear, train)
    neutral = train.topology.mesh(train.neutrals[2])
    coefficients = people[0].coefficients
    posed = neutral.vertices + np.tensordot(coefficients, linear.bind(neutral).basis, 1)
    deviations = linear.mode_deviation.double().numpy()
    refit = people[2].products @ fit_matrix(people[2].products, np.diag(deviations**2), float(linear.tolerance)).T
    np.testing.assert_allclose(coefficients @ refit, linear.fit(neutral, posed), atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "magic"}, "no semantic model is called 'magic'.*displacement_pca"),
        ({"weights": {"reconstruction": 1.0}}, "loss weights must name reconstruction, cycle, code, identity"),
        ({"gradient_modes": 4}, "code of 5 numbers needs at least as many gradient modes, got 4"),
        ({"identity_modes": 8}, "8 identity modes .* 8 train people"),
        ({"batch_size": 30}, "batch_size .* multiple of 8, got 30"),
        ({"basis_meshes": 9}, "12 gradient modes .* 9 expressive meshes"),
    ],
)
def test_settings_that_cannot_work_are_refused(heads, changes, message):
    with pytest.raises(ValueError, match=message):
        train_semantic(heads, **training_options(**changes))


def test_heads_without_training_or_validation_people(heads):
    with pytest.raises(ValueError, match="no expressive mesh of a train person"):
        train_semantic(heads.select("test"), **training_options())
    _, rows = train_semantic(heads.select("train"), **training_options(steps=3))
    assert not any(name.startswith("val_") for name in rows[-1])


def test_unpaired_validation_people_give_reconstruction_alone():
    _, rows = train_semantic(small_heads(paired=False), **training_options(steps=3))
    assert "val_reconstruction_rms_mm" in rows[-1] and "val_retargeting_rms_mm" not in rows[-1]


def test_the_task_draws_its_batches_from_its_seed(heads, linear):
    model = train_semantic(heads, **training_options(steps=1))[0]
    people = bind_people(model, heads.select("train"))
    shapes = np.concatenate([model.neutral_shape(heads.topology.mesh(one)) for one in heads.select("train").neutrals])
    options = {"weights": training_options()["weights"], "mix_share": 0.5, "batch_size": 16, "device": torch.device("cpu")}

    def first_loss(seed):
        return float(SemanticTask(model, people, shapes, [], shapes[:0], seed=seed, **options).losses(1, 3)["reconstruction"])

    assert first_loss(1) == first_loss(1) != first_loss(2)


@pytest.mark.parametrize("copied", [False, True])
def test_the_people_decide_how_an_expression_depends_on_the_shape(copied):
    """Where everybody shows the same displacements the basis learns displacements; where they are transferred, gradients. One method, both right."""
    heads = small_heads(train=12)
    if copied:
        rng = np.random.default_rng(0)
        performed = {name: np.tensordot(rng.uniform(0, 1, UNITS), unit_displacements(), 1) for name in dict.fromkeys(heads.expression_ids)}
        expressive = heads.neutrals[heads.expression_subject] + np.stack([performed[name] for name in heads.expression_ids])
        heads = dataclasses.replace(heads, expressive=expressive.astype(np.float32))
    scores = {count: score_semantic(train_semantic(heads, **training_options(kind="gradient_fit", code_size=7, displacement_modes=count))[0],
                                    heads.select("test"), max_pairs=6, seed=0)["retargeting_mm"] for count in (0, 10)}  # fmt: skip
    if copied:
        assert scores[10] < 0.5 * scores[0]
    else:
        assert scores[10] < 1.1 * scores[0]
