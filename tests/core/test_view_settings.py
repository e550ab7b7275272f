"""The object for views: what it refuses, what it imports."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from smaf.core.network_facts import parse_predict
from smaf.core.predict_settings import PredictSettings
from smaf.core.views import ONE_VIEW, PAPER_VIEWS, Views


def test_the_defaults_are_the_papers() -> None:
    assert PAPER_VIEWS == Views() == Views((0.5, 1.0, 1.5, 2.0), True, None, 2_000_000, "maps")
    assert (PAPER_VIEWS.count, ONE_VIEW.count, Views((1.0,)).count) == (8, 1, 2)
    assert Views([0.5, 1.0]).scales == (0.5, 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values, said",
    [
        ({"scales": ()}, "--scales: expected at least one value"),
        ({"scales": (1.0, 0.0)}, "--scales 1.0 0.0: expected more than 0"),
        ({"scales": (float("nan"),)}, "--scales nan: expected more than 0"),
        ({"scales": (float("inf"),)}, "--scales inf: expected more than 0"),
        ({"long_side": 0}, "--long_side 0: expected more than 0"),
        ({"max_pixels": -1}, "--max_view_pixels -1: expected more than 0"),
        ({"label_filter": "logit"}, "--label_filter logit: expected one of maps, logits"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Views(**values)


def test_settings_are_flat_in_files() -> None:
    settings = PredictSettings(Views((0.5, 1.0), False, 448, label_filter="logits"), 0.3, 0.5, 0.4)
    flat = settings.to_dict()
    assert flat == {
        "scales": (0.5, 1.0),
        "flip": False,
        "long_side": 448,
        "background": 0.3,
        "score": 0.5,
        "label_filter": "logits",
        "crf_background": 0.4,
    }
    assert parse_predict(json.loads(json.dumps(flat)), "weights x") == settings


def test_no_pytorch_is_loaded() -> None:
    code = "import sys, smaf.core.views; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
