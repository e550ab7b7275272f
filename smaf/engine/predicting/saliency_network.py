"""Networks that find what is salient, in ONNX files: which file, and how it is run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from smaf.core.errors import InputError, MissingInputError, did_you_mean
from smaf.core.saliency_facts import MAX_SIDE, SaliencyFacts, facts_for, known_models
from smaf.engine.predicting.network import first_line
from smaf.engine.predicting.onnx_session import open_session, shown_entries
from smaf.engine.predicting.opening import shipped_saliency

SHIPPED = "saliency_lite0"  # the network that ships

_FIX = "take one file, as it was downloaded, whose operators ONNX Runtime has"
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_TOLERANCE = 1e-3  # beyond 0 and 1, for float16


def _cache() -> tuple[Path, str]:
    """The folder where rembg keeps its networks, and the setting that says so."""
    if home := os.environ.get("U2NET_HOME"):
        return Path(home).expanduser(), "U2NET_HOME"
    if data := os.environ.get("XDG_DATA_HOME"):
        return Path(data).expanduser() / ".u2net", "XDG_DATA_HOME"
    return Path("~/.u2net").expanduser(), "rembg's default"


def find_model(model: str | Path) -> Path:
    """The ONNX file that `--model` names: shipped, a file, or a name in rembg's cache.

    Raises :class:`InputError` where there is none; nothing is downloaded.
    """
    name, path = str(model), Path(model)
    if name in shipped_saliency():
        return shipped_saliency()[name]
    if path.is_file():
        return path
    if path.name != name or path.suffix.lower() == ".onnx":
        raise MissingInputError(
            f"--model {name} does not exist: name an ONNX file, a network of rembg's cache "
            f"(u2net), or leave it out"
        )
    folder, setting = _cache()
    cached = folder / f"{name}.onnx"
    if not cached.is_file():
        near = did_you_mean(name, [*known_models(), *shipped_saliency()])
        raise MissingInputError(
            f"--model {name}{near}: there is no such file, and no {cached} ({setting}): nothing is "
            "downloaded; put the network there, or name its file"
        )
    return cached


class SaliencyNetwork:
    """A network that gives how salient each pixel is, run by ONNX Runtime on the CPU.

    Args:
        path: its file; see :func:`find_model`.
        preset: one of :data:`smaf.core.saliency_facts.PRESETS`; None: the file, or its name, says.
        threads: CPU threads; None: as many as cores, or this process's share of them.

    Raises :class:`InputError` where the file is damaged, its graph does not take photographs, or
    nothing says how it wants them.
    """

    def __init__(
        self, path: Path, preset: str | None = None, *, threads: int | None = None
    ) -> None:
        self.path = path
        self.where = f"saliency network {path}"
        self.session = open_session(path, "saliency network", _FIX, threads=threads)
        self._check_graph()
        props = self.session.get_modelmeta().custom_metadata_map
        self.facts: SaliencyFacts
        self.facts, self.preset = facts_for(props, preset, stem=path.stem, where=self.where)
        entry = self.session.get_inputs()[0]
        self._input, self._type = entry.name, _TYPES[entry.type]
        self._fixed = self._fixed_size(entry.shape)

    def _check_graph(self) -> None:
        """Refuse a graph that does not take one photograph, RGB, channels first."""
        entries = self.session.get_inputs()
        shape: Sequence[Any] = entries[0].shape if len(entries) == 1 else ()
        if len(shape) != 4 or entries[0].type not in _TYPES:
            raise InputError(
                f"{self.where} takes {shown_entries(entries)}, expected one input, tensor(float) "
                f"of 4 dimensions: {_FIX}"
            )
        if _number(shape[0], 1) != 1 or _number(shape[1], 3) != 3:
            raise InputError(
                f"{self.where} takes images of {shape}, expected [1, 3, height, width]: take an "
                "export for one RGB image, channels first"
            )

    def _fixed_size(self, shape: Sequence[Any]) -> tuple[int, int] | None:
        """The (W, H) that the graph takes alone; None where it takes any."""
        if not any(isinstance(length, int) for length in shape[2:]):
            return None
        height, width = (_number(length, self.facts.side) for length in shape[2:])
        if not 0 < min(height, width) <= max(height, width) <= MAX_SIDE:
            raise InputError(
                f"{self.where} takes images of {width}×{height} pixels, expected 1 to {MAX_SIDE}: "
                f"{_FIX}"
            )
        return width, height

    def size(self, photograph: tuple[int, int]) -> tuple[int, int]:
        """The (W, H) at which the network sees a photograph of that (W, H)."""
        return self._fixed or self.facts.size(photograph)

    def images(self, photograph: Image.Image, size: tuple[int, int]) -> np.ndarray:
        """(1, 3, h, w) images of a photograph, as the network takes them; `size` is (w, h)."""
        # Published networks were trained without the aspect, and rembg feeds them so, by Lanczos.
        # It divides by the photograph's maximum where training divided by 255, as is done here
        kernel = Image.Resampling.BILINEAR if self.facts.keeps_aspect else Image.Resampling.LANCZOS
        values = np.asarray(photograph.resize(size, kernel), np.float32) / np.float32(255)
        values -= np.asarray(self.facts.mean, np.float32)
        values /= np.asarray(self.facts.std, np.float32)
        return np.ascontiguousarray(values.transpose(2, 0, 1)[None], dtype=self._type)

    def map(self, images: np.ndarray, photograph: Path | str) -> np.ndarray:
        """The saliency, (h', w') uint8, of :meth:`images`; `photograph` is named in errors.

        It is not stretched from its minimum to its maximum, as rembg does: a photograph that shows
        nothing salient would become noise of full range, and a constant map 0/0.

        Raises :class:`InputError` where the network cannot be run, or gives no map in 0..1.
        """
        height, width = images.shape[2:]
        try:
            output = self.session.run([self.session.get_outputs()[0].name], {self._input: images})
        except Exception as error:  # the runtime's own types
            raise InputError(
                f"{self.where} cannot be run on images of {width}×{height} pixels "
                f"({first_line(error)}): {_FIX}"
            ) from error
        values = self._one_map(np.asarray(output[0]), photograph)
        return np.round(values * 255).astype(np.uint8)

    def _one_map(self, output: np.ndarray, photograph: Path | str) -> np.ndarray:
        """The network's first output as one (h, w) float32 map in 0..1."""
        shape = output.shape
        if not 2 <= output.ndim <= 4 or set(shape[:-2]) - {1} or min(shape[-2:]) < 2:
            raise InputError(
                f"{self.where} gives {list(shape)} first, expected one map, [1, 1, height, width]: "
                f"{_FIX}"
            )
        values = output.reshape(shape[-2:]).astype(np.float32)
        if not np.isfinite(values).all():
            raise InputError(
                f"{self.where} gives values that are not finite for {photograph}: take its export "
                "in float32"
            )
        low, high = float(values.min()), float(values.max())
        inside = low >= -_TOLERANCE and high <= 1 + _TOLERANCE
        if inside == self.facts.sigmoid:
            raise InputError(
                f"{self.where} gives values from {low:.3g} to {high:.3g} for {photograph}, "
                + self._other_preset()
            )
        if self.facts.sigmoid:
            values = np.exp(-np.logaddexp(np.float32(0), -values))
        return np.clip(values, 0, 1)

    def _other_preset(self) -> str:
        """What was expected of the output, and how the network is to be used otherwise."""
        if self.preset is None:
            return "expected 0 to 1: export it with its sigmoid"
        if self.facts.sigmoid:
            return (
                f"expected logits, since --preset {self.preset} adds a sigmoid: try --preset u2net "
                "or --preset isnet"
            )
        return (
            f"expected 0 to 1 with --preset {self.preset}: try --preset birefnet, which adds a "
            "sigmoid"
        )


@dataclass(frozen=True)
class SaliencyWeight:
    """A saliency network, and how much its maps weigh: see :func:`smaf.ops.crf_cams`."""

    network: SaliencyNetwork
    weight: float

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ValueError(f"saliency weight {self.weight}: expected a value above 0")

    def map(self, photograph: Image.Image, size: tuple[int, int]) -> np.ndarray:
        """The saliency (H, W) float32 in 0..1 of a photograph, at the (W, H) `size`."""
        images = self.network.images(photograph, self.network.size(photograph.size))
        found = Image.fromarray(self.network.map(images, "a photograph"))
        return np.asarray(found.resize(size, Image.Resampling.BILINEAR), np.float32) / 255.0


def open_saliency(
    model: str | Path, preset: str | None = None, *, threads: int | None = None
) -> SaliencyNetwork:
    """Open a saliency network by the name of a shipped or cached one, or by its file."""
    return SaliencyNetwork(find_model(model), preset, threads=threads)


def _number(length: object, default: int) -> int:
    """An axis of a graph's input: a number where it is fixed, else a name or nothing."""
    return length if isinstance(length, int) else default
