"""The score from which a class counts as shown."""

from __future__ import annotations

import numpy as np
import pytest

from smaf.engine.class_scores import best_score


def test_the_highest_f1_by_hand() -> None:
    """From 0.11 all four and one more are found: F1 8/9; from 0.31 three and no more: 6/7."""
    scores = np.array([[0.9, 0.1], [0.6, 0.3], [0.2, 0.8]])
    labels = np.array([[1, 0], [1, 0], [1, 1]])
    chosen = best_score(scores, labels)
    assert chosen["score"] == 0.11 and chosen["precision"] == pytest.approx(4 / 5)
    assert chosen["recall"] == 1.0 and chosen["f1"] == pytest.approx(8 / 9)
