"""What pytest gives the examples in docstrings: the names that they use without importing them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image


@pytest.fixture(autouse=True)
def _names_of_examples(doctest_namespace: dict[str, Any]) -> None:
    doctest_namespace.update(np=np, torch=torch, Image=Image)
