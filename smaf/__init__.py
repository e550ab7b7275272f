"""SMAF: pixel masks from image-level labels (weakly supervised semantic segmentation).

Masks of photographs, with a network that ships or with one of your own::

    import smaf

    network = smaf.load("animals_lite0")
    result = network("photo.jpg", labels=["cat"])
    result.mask, result.classes, result.scores, result.maps
    result.save("masks/")

A network of your own is trained in stages. Each is a plan and a function in
`smaf/engine/stages/<command>.py`, and a command in `smaf/<command>.py`: `saliency` writes saliency
maps where there are none, `train_eps` (0) trains a classifier, `gen_fusion` (1) fuses its CAMs,
`refine_fusion` refines them, `train_fusion` (2) trains the classifier on the fused maps, `gen_pm`
(3) makes pseudo masks, `train_seg` and `test_seg` (4) train and test a segmentation network on
them; `evaluate` measures masks.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from smaf.core.environment import prepare_environment

if TYPE_CHECKING:  # NumPy and PyTorch load when they are needed: the command starts at once
    import os

    from smaf.engine.predicting.face import LoadedNetwork

__version__ = "0.12.0"
__all__ = ["__version__", "load"]

prepare_environment()
if sys.argv[:1] == ["-m"]:  # `python -m smaf.STAGE`: its modules load now, for seconds
    from smaf.core.terminal import stop_at_once

    stop_at_once()


def load(weights: str | os.PathLike[str], *, device: str = "auto") -> LoadedNetwork:
    """Open a network that makes masks of photographs.

    Args:
        weights: the name of a network that ships (`"animals_lite0"`, `"animals_lite0_seg"`), or a
            file of this project: `.pth`, `.onnx`, `.pt2`.
        device: `"auto"`, `"cpu"`, `"cuda"` or `"mps"`; ONNX files run on the CPU.

    Returns:
        A callable: `network(photo, labels=None)` takes a path, a PIL image or an (H, W, 3) uint8
        array and gives a result with `mask`, `classes`, `scores`, `maps`, `overlay()` and `save()`;
        see :class:`smaf.engine.predicting.face.LoadedNetwork`.

    Raises FileNotFoundError where the weights are missing, ValueError where they are damaged.

    Example:
        >>> import numpy as np, smaf
        >>> network = smaf.load("animals_lite0")
        >>> result = network(np.full((64, 96, 3), 255, dtype=np.uint8), labels=[])
        >>> result
        <Result, 96×64: background only>
        >>> result.mask.shape, int(result.mask.max())
        ((64, 96), 0)
    """
    from smaf.engine.predicting import face

    return face.load(weights, device=device)
