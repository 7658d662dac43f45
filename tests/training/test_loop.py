import logging

import numpy as np
import pytest
import torch

from serep.training.checkpoint import Checkpoint, training_key
from serep.training.loop import fit, learning_rate_factor, save_curve

OPTIONS = {"learning_rate": 0.05, "weight_decay": 0.0, "warmup_share": 0.1, "gradient_clip": 1.0, "log_every": 5, "validate_every": 20, "label": "line"}


class Line:
    """Fit a line; `broken_at` makes one term NaN from that step on, `killed_at` ends the run there as a signal would."""

    def __init__(self, broken_at: int | None = None, killed_at: int | None = None):
        torch.manual_seed(0)
        self.module = torch.nn.Linear(3, 1)
        self.broken_at, self.killed_at, self.validations = broken_at, killed_at, 0

    def losses(self, step: int, steps: int) -> dict[str, torch.Tensor]:
        assert 1 <= step <= steps
        if step == self.killed_at:
            raise KeyboardInterrupt
        inputs = torch.randn(16, 3, generator=torch.Generator().manual_seed(step))
        error = (self.module(inputs) - inputs.sum(dim=1, keepdim=True)).square().mean()
        second = error * float("nan") if self.broken_at and step >= self.broken_at else 0.1 * self.module.bias.square().sum()
        return {"line": error, "bias": second}

    def validate(self) -> dict[str, float]:
        assert not self.module.training and not torch.is_grad_enabled()
        self.validations += 1
        return {"slope": float(self.module.weight.detach().mean())}

    def state(self) -> dict[str, torch.Tensor]:
        return {"validations": torch.tensor(self.validations)}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        self.validations = int(state["validations"])


def test_the_loss_halves_and_the_curve_says_so():
    seen = []
    rows = fit(Line(), steps=60, on_metrics=lambda values, step: seen.append((step, values)), **OPTIONS)
    assert rows[-1]["total"] < 0.5 * rows[0]["total"]
    assert [row["step"] for row in rows] == list(range(5, 61, 5))
    assert rows[0].keys() == {"step", "line", "bias", "total"}
    assert [row["step"] for row in rows if "val_slope" in row] == [20, 40, 60]
    assert rows[-1]["val_slope"] == pytest.approx(1, abs=0.2)
    assert [step for step, _ in seen] == [row["step"] for row in rows] and "step" not in seen[0][1]


def test_the_last_step_is_always_validated():
    assert "val_slope" in fit(Line(), steps=7, **OPTIONS)[-1]


def test_the_same_seed_gives_the_same_bytes():
    first, second = Line(), Line()
    rows = fit(first, steps=30, **OPTIONS), fit(second, steps=30, **OPTIONS)
    assert rows[0] == rows[1]
    assert first.module.weight.detach().numpy().tobytes() == second.module.weight.detach().numpy().tobytes()


@pytest.mark.parametrize("killed_at", [1, 2, 20, 21, 39, 40])
def test_a_training_that_was_killed_ends_with_the_same_bytes(tmp_path, killed_at):
    whole, killed, resumed = Line(), Line(killed_at=killed_at), Line()
    checkpoint = Checkpoint(tmp_path / "line.safetensors", "one", every_s=0)
    rows = fit(whole, steps=40, **OPTIONS)
    with pytest.raises(KeyboardInterrupt):
        fit(killed, steps=40, checkpoint=checkpoint, **OPTIONS)
    steps = []
    again = fit(resumed, steps=40, checkpoint=checkpoint, on_metrics=lambda _, step: steps.append(step), **OPTIONS)
    assert again == rows and resumed.validations == whole.validations == 2
    assert all(step >= killed_at for step in steps)  # what was done is not done again
    for name, tensor in whole.module.state_dict().items():
        assert tensor.numpy().tobytes() == resumed.module.state_dict()[name].numpy().tobytes()
    assert fit(Line(killed_at=1), steps=40, checkpoint=checkpoint, **OPTIONS) == rows  # finished, and killed before the result was stored


def test_another_training_s_checkpoint_is_not_taken_up(tmp_path, caplog):
    file = tmp_path / "line.safetensors"
    fit(Line(), steps=20, checkpoint=Checkpoint(file, "one", every_s=0), **OPTIONS)
    with caplog.at_level(logging.INFO):
        assert Checkpoint(file, "other").load() is None and "other settings, data, code or devices" in caplog.text
    assert Checkpoint(file, "one").load().step == 20
    file.write_bytes(file.read_bytes()[:100])
    assert Checkpoint(file, "one").load() is None and "cannot be read" in caplog.text
    Checkpoint(file, "one").remove()
    assert Checkpoint(file, "one").load() is None


def test_the_key_of_a_training_tells_settings_and_data_apart():
    array = np.arange(6, dtype=np.float32)
    key = training_key({"steps": 3}, array)
    assert key == training_key({"steps": 3}, array.copy())
    others = (training_key({"steps": 4}, array), training_key({"steps": 3}, array + 1), training_key({"steps": 3}, array.reshape(2, 3)),
              training_key({"steps": 3}, array, array), training_key({"steps": 3}, torch.zeros(())))
    assert len({key, *others}) == 6


def test_a_loss_that_is_not_finite_stops_the_run_by_name_and_step():
    task = Line(broken_at=12)
    with pytest.raises(RuntimeError, match=r"line: loss 'bias' is nan at step 12 of 40"):
        fit(task, steps=40, **OPTIONS)
    assert torch.isfinite(task.module.weight).all()


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="0 training steps"):
        fit(Line(), steps=0, **OPTIONS)


def test_the_learning_rate_rises_linearly_and_falls_to_zero():
    factors = [learning_rate_factor(step, 100, 0.1) for step in range(101)]
    assert factors[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert factors[10] == pytest.approx(1) and factors[55] == pytest.approx(0.5) and factors[100] == pytest.approx(0)


def test_validations_are_logged(caplog):
    with caplog.at_level(logging.INFO, logger="serep.training.loop"):
        fit(Line(), steps=40, **OPTIONS)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["line step 20/40", "line step 40/40"]


def test_a_curve_keeps_empty_what_a_row_lacks(tmp_path):
    save_curve(tmp_path / "plots" / "curve.csv", [{"step": 5.0, "loss": 0.25}, {"step": 10.0, "loss": 0.125, "val_x": 3.0}])
    assert (tmp_path / "plots" / "curve.csv").read_text().split() == ["step,loss,val_x", "5,0.25,", "10,0.125,3"]
    save_curve(tmp_path / "empty.csv", [])
    assert (tmp_path / "empty.csv").is_file() and not list(tmp_path.rglob("*.partial"))
