"""Networks in checkpoints, run by PyTorch."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smaf.core.device import autocast, choose_device, cpu_threads
from smaf.core.errors import InputError
from smaf.core.network_facts import NAME_ANOTHER
from smaf.engine.predicting.network import Network
from smaf.models import Checkpoint, build_network, facts_of, for_inference, read_checkpoint


class TorchNetwork(Network):
    """A checkpoint's network on a device that PyTorch knows.

    Attributes:
        whole: the :class:`smaf.models.Classifier` or :class:`smaf.models.Segmenter`.
        model: what is run, the same network prepared for inference.
        threads: CPU threads of its operations; None: as many as PyTorch takes.

    Raises :class:`InputError` where the file is no checkpoint, has no head, does not name its
    classes, or is a plain-CAM network (head `"cls"`), which has no background channel.
    """

    def __init__(
        self,
        path: Path,
        device: str = "auto",
        precision: str = "fp32",
        *,
        threads: int | None = None,
    ) -> None:
        self.device, self.precision, self.threads = choose_device(device), precision, threads
        checkpoint = read_checkpoint(path)
        names = checkpoint.require_class_names()
        _require_background(checkpoint)
        model = build_network(checkpoint)
        self.facts = facts_of(model, names, checkpoint.predict)
        model = model.to(self.device).to(memory_format=torch.channels_last)
        self.whole = model.eval()
        self.model: Any = for_inference(self.whole, precision=precision)

    def at(self, precision: str) -> TorchNetwork:
        """The same network at a precision; itself where it has it."""
        if precision == self.precision:
            return self
        other = copy.copy(self)
        other.precision = precision
        other.model = for_inference(self.whole, precision=precision)
        return other

    def logits(self, images: np.ndarray) -> np.ndarray:
        """(n, 3, h, w) float32 images → the network's own logits, run by PyTorch."""
        with (
            cpu_threads(self.threads),
            torch.inference_mode(),
            autocast(self.device, self.precision),
        ):
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
