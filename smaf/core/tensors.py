"""Pictures turned into the tensors that a network takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def normalise(
    image: Image.Image, mean: Sequence[float], std: Sequence[float], *, bgr: bool = False
) -> Tensor:
    """Return (value / 255 - mean) / std of a PIL RGB image, (3, H, W) float32.

    `bgr` turns the channels round afterwards.
    """
    pixels = torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1).float() / 255.0
    normal = (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    return normal.flip(0) if bgr else normal
