"""The mean of the weights of the last steps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_set import good, stage0
from torch import nn

from smaf.engine.training import loop
from smaf.engine.training.average import WeightAverage


def test_the_mean_by_hand() -> None:
    """Of four steps the last two: 3 and 5 give 4; integers are the last ones."""
    model = nn.BatchNorm1d(1)
    average = WeightAverage(model, 0.5, 4)
    for step, value in enumerate((1.0, 2.0, 3.0, 5.0), 1):
        with torch.no_grad():
            model.weight.fill_(value)
            model.running_mean.fill_(10 * value)
            model.num_batches_tracked.fill_(step)
        average.update(step)
    with average.in_place():
        assert model.weight.item() == 4.0 and model.running_mean.item() == 40.0
        assert model.num_batches_tracked.item() == 4
    assert model.weight.item() == 5.0 and model.running_mean.item() == 50.0
    other = WeightAverage(nn.BatchNorm1d(1), 0.5, 4)
    other.load_state_dict(average.state_dict())
    with other.in_place():
        assert other.model.weight.item() == 4.0


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_none_and_all(share: float) -> None:
    model = nn.Linear(1, 1, bias=False)
    average = WeightAverage(model, share, 2)
    for step, value in enumerate((1.0, 2.0), 1):
        nn.init.constant_(model.weight, value)
        average.update(step)
    with average.in_place():
        assert model.weight.item() == (1.5 if share else 2.0)


def test_the_saved_network_is_the_mean(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped and gone on with, it is the same; it is the mean of what each step leaves."""
    seen: list[dict[str, torch.Tensor]] = []

    class Noting(WeightAverage):
        def update(self, step: int) -> None:
            super().update(step)
            seen.append({k: v.clone() for k, v in self.model.state_dict().items()})

    monkeypatch.setattr(loop, "WeightAverage", Noting)
    good(stage0(small, tmp_path / "whole", "--steps", 4, "--average", 0.5))
    assert len(seen) == 4
    whole = torch.load(tmp_path / "whole/classifier.pth", weights_only=True)["state_dict"]
    for name, value in whole.items():
        if value.is_floating_point():
            mean = (seen[2][name] + seen[3][name]) / 2
            torch.testing.assert_close(value, mean.to(value.dtype), rtol=1e-5, atol=1e-7)
    assert any((seen[2][name] != seen[3][name]).any() for name in whole)

    class Stopping(WeightAverage):
        def update(self, step: int) -> None:
            super().update(step)
            if step == 3:
                raise KeyboardInterrupt

    monkeypatch.setattr(loop, "WeightAverage", Stopping)
    words = ("--steps", 4, "--average", 0.5, "--checkpoint_minutes", 0)
    assert stage0(small, tmp_path / "twice", *words).status == 130
    monkeypatch.setattr(loop, "WeightAverage", WeightAverage)
    good(stage0(small, tmp_path / "twice", *words))
    again = torch.load(tmp_path / "twice/classifier.pth", weights_only=True)["state_dict"]
    assert all(torch.equal(value, again[name]) for name, value in whole.items())
