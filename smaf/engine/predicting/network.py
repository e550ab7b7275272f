"""What prediction asks of a network, whatever runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np

from smaf.core.errors import InputError
from smaf.core.network_facts import NAME_ANOTHER, NetworkFacts, check_channels
from smaf.core.predict_settings import PredictSettings


class Network(ABC):
    """A trained classifier or segmentation network, ready to predict.

    A subclass runs one kind of file: its `__init__` sets `facts`, its `logits` runs the network.

    Attributes:
        facts: what the file says of the network.
    """

    facts: NetworkFacts

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the C foreground classes."""
        return self.facts.class_names

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of red, green and blue in 0..1, which images are normalised with."""
        return self.facts.mean

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of red, green and blue in 0..1, which images are normalised with."""
        return self.facts.std

    @property
    def segments(self) -> bool:
        """Whether it is a segmentation network: its softmax is the result.

        A classifier's CAMs are fused over views and cut at a background threshold, as in stage 1.
        """
        return self.facts.segments

    @property
    def settings(self) -> PredictSettings | None:
        """How the network is meant to be used, None where its file does not say."""
        return self.facts.settings

    def cam(self, images: np.ndarray) -> np.ndarray:
        """(n, 3, h, w) float32 images → (n, C+1, h', w') logits, the last channel background.

        Images are RGB, normalised with `mean` and `std`.
        """
        logits = self.logits(np.ascontiguousarray(images[:, ::-1]) if self.facts.bgr else images)
        return np.roll(logits, -1, axis=1) if self.facts.segments else logits

    @abstractmethod
    def logits(self, images: np.ndarray) -> np.ndarray:
        """(n, 3, h, w) float32 images → logits as the network itself has them.

        Unlike :meth:`cam` it takes BGR images where `facts.bgr`, and a segmentation network's first
        channel is background.
        """

    def _check_run(self, path: Path) -> None:
        """Run a network whose graph came with its file on small images, before it is trusted.

        Raises :class:`InputError` where it cannot be run, or does not give finite maps with one
        channel a class and one for background.
        """
        expected, images = len(self.class_names) + 1, np.zeros((2, 3, 64, 96), dtype=np.float32)
        try:
            logits = self.logits(images)
        except Exception as error:  # each runtime has its own
            raise InputError(
                f"weights {path} cannot be run on images of 96×64 pixels ({first_line(error)}): "
                f"{NAME_ANOTHER}"
            ) from error
        if logits.ndim != 4 or len(logits) != len(images) or not np.isfinite(logits).all():
            raise InputError(
                f"weights {path} give {logits.shape} for images of {images.shape}, expected finite "
                f"maps of 4 dimensions: {NAME_ANOTHER}"
            )
        check_channels(logits.shape[1], expected, f"weights {path}")


def first_line(error: Exception) -> str:
    """An error's first line that says something, cut at 200 characters, to be quoted."""
    return next(
        (line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__
    )[:200]
