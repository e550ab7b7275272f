"""Networks in checkpoints, run by PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from smaf.core.device import autocast, choose_device
from smaf.core.errors import InputError
from smaf.core.network_facts import NAME_ANOTHER
from smaf.engine.predicting.network import Network
from smaf.models import Checkpoint, build_network, facts_of, for_inference, read_checkpoint


class TorchNetwork(Network):
    """A checkpoint's network on a device that PyTorch knows.

    Attributes:
        model: the :class:`smaf.models.Classifier` or :class:`smaf.models.Segmenter`.

    Raises :class:`InputError` where the file is no checkpoint, has no head, does not name its
    classes, or is a plain-CAM network (head `"cls"`), which has no background channel.
    """

    def __init__(self, path: Path, device: str = "auto", precision: str = "fp32") -> None:
        self.device, self.precision = choose_device(device), precision
        checkpoint = read_checkpoint(path)
        names = checkpoint.require_class_names()
        _require_background(checkpoint)
        model = build_network(checkpoint)
        self.facts = facts_of(model, names, checkpoint.predict)
        model = model.to(self.device).to(memory_format=torch.channels_last)
        self.model: Any = for_inference(model.eval(), precision=precision)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """(n, 3, h, w) float32 images → the network's own logits, run by PyTorch."""
        with torch.inference_mode(), autocast(self.device, self.precision):
            batch = (
                torch.from_numpy(images)
                .to(self.device)
                .contiguous(memory_format=torch.channels_last)
            )
            logits = self.model(batch) if self.segments else self.model.forward_cam(batch)
            return np.asarray(logits.float().cpu())


def _require_background(checkpoint: Checkpoint) -> None:
    """Refuse a classifier without a background channel."""
    if checkpoint.classifier is not None and checkpoint.classifier.head == "cls":
        raise InputError(
            f"weights {checkpoint.path} are a plain-CAM network without a background channel: "
            f"{NAME_ANOTHER}"
        )
