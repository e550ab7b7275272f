"""Kernels of dense CRF, and the published settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gaussian:
    """Kernel by place: `weight` · exp(-‖p_i - p_j‖² / 2 `xy`²), `xy` in pixels."""

    weight: float
    xy: float

    def __post_init__(self) -> None:
        _check(self, "xy")


@dataclass(frozen=True)
class Bilateral:
    """Kernel by place and colour.

    `weight` · exp(-‖p_i - p_j‖² / 2 `xy`² - ‖I_i - I_j‖² / 2 `rgb`²), `xy` in pixels, `rgb` in
    colour values 0..255.
    """

    weight: float
    xy: float
    rgb: float

    def __post_init__(self) -> None:
        _check(self, "xy", "rgb")


def _check(kernel: Gaussian | Bilateral, *widths: str) -> None:
    for name in ("weight", *widths):
        value = getattr(kernel, name)
        if not value > 0 or value == float("inf"):
            raise ValueError(
                f"{type(kernel).__name__}: {name} is {value}, expected a number above 0"
            )


@dataclass(frozen=True)
class CrfSettings:
    """The kernels of dense CRF and the number of its mean-field steps."""

    gaussian: Gaussian
    bilateral: Bilateral
    steps: int = 10

    def scaled(self, factor: float) -> CrfSettings:
        """The kernels for a photograph resized by `factor`; the Gaussian stays ≥ 1 pixel wide.

        Example:
            >>> half = SOFTMAX.scaled(0.5)
            >>> half.gaussian.xy, half.bilateral.xy
            (1.0, 33.5)
        """
        return CrfSettings(
            Gaussian(self.gaussian.weight, max(1.0, self.gaussian.xy * factor)),
            Bilateral(self.bilateral.weight, self.bilateral.xy * factor, self.bilateral.rgb),
            self.steps,
        )


# Stage 3's, on hard labels, and EPS's and DeepLab-V2's, on softmax
HARD_LABELS = CrfSettings(Gaussian(3, xy=3), Bilateral(10, xy=50, rgb=5))
SOFTMAX = CrfSettings(Gaussian(3, xy=1), Bilateral(4, xy=67, rgb=3))
