"""The small data set and what stages 0 and 1 make of it, once for all tests of this room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch.nn.functional as F
from small_set import ADAMW, good, make_set, stage0, stage1
from torch import Tensor

from smaf.engine.training.loop import Trainer
from smaf.models.classifier import TimmClassifier


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small data set; tests leave it as it is."""
    return make_set(tmp_path_factory.mktemp("small") / "set")


@pytest.fixture(scope="session")
def classifier(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stage 0's classifier after eight steps."""
    out = tmp_path_factory.mktemp("stage0") / "eps"
    good(stage0(small, out, "--steps", 8, *ADAMW))
    return out / "classifier.pth"


@pytest.fixture(scope="session")
def cams(small: Path, classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stage 1's fused maps of all pictures."""
    out = tmp_path_factory.mktemp("stage1") / "cams"
    good(stage1(small, classifier, out))
    return out


@pytest.fixture
def dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put dropout behind the backbone, so that PyTorch's random state matters at each step."""
    extract = TimmClassifier.extract

    def dropping(self: TimmClassifier, images: Tensor) -> Tensor:
        return F.dropout(extract(self, images), 0.3, self.training)

    monkeypatch.setattr(TimmClassifier, "extract", dropping)


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Filled with the loss of each step that a training takes."""
    values: list[float] = []
    report: Callable[..., None] = Trainer._report

    def reading(self: Trainer, bar: Any, board: Any, terms: dict[str, Tensor]) -> None:
        values.append(float(terms["loss"]))
        report(self, bar, board, terms)

    monkeypatch.setattr(Trainer, "_report", reading)
    return values
