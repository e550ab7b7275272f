"""Trained networks as prediction uses them: behind ONNX Runtime, or PyTorch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smaf.core.classes import VOC_CLASSES
from smaf.core.errors import InputError
from smaf.core.files import require_file
from smaf.core.network_facts import NetworkFacts, check_channels, parse_facts
from smaf.core.onnx_weights import check_onnx_weights
from smaf.core.predict_settings import PredictSettings

if TYPE_CHECKING:  # PyTorch takes seconds to start, which ONNX files do without
    from smaf.models import WeightsFile

_FIX = "name a network of this project (.pth, .onnx, .pt2), or one of the shipped weights"


def shipped_weights() -> dict[str, Path]:
    """The networks that the package ships, by name: `.onnx`; beside it `.pth` and the model card
    `.md`."""
    folder = Path(__file__).resolve().parent.parent / "weights"
    return {path.stem: path for path in sorted(folder.glob("*.onnx"))}


class _Network:
    """A :class:`smaf.engine.predicting.predictor.Network`; subclasses run it in `_run`."""

    facts: NetworkFacts

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, without background."""
        return self.facts.class_names

    @property
    def mean(self) -> tuple[float, ...]:
        """Of RGB in 0..1."""
        return self.facts.mean

    @property
    def std(self) -> tuple[float, ...]:
        """Of RGB in 0..1."""
        return self.facts.std

    @property
    def segments(self) -> bool:
        """Whether it is a segmentation network."""
        return self.facts.segments

    @property
    def settings(self) -> PredictSettings | None:
        """How the weights are meant to be used."""
        return self.facts.settings

    def cam(self, images: np.ndarray) -> np.ndarray:
        """See :class:`smaf.engine.predicting.predictor.Network`."""
        logits = self._run(np.ascontiguousarray(images[:, ::-1]) if self.facts.bgr else images)
        return np.roll(logits, -1, axis=1) if self.facts.segments else logits

    def _run(self, images: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class OnnxNetwork(_Network):
    """A network exported by :func:`smaf.models.export.export_onnx`; starts in a tenth of PyTorch's
    time."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        content = require_file(path, "weights", _FIX).read_bytes()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            check_onnx_weights(content)
            self.session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
            text = self.session.get_modelmeta().custom_metadata_map.get("smaf")
        except (
            Exception
        ) as error:  # a damaged file raises one of a dozen of the runtime's own types
            raise InputError(
                f"weights {path} cannot be read as ONNX ({_line(error)}): {_FIX}"
            ) from error
        if text is None:
            raise InputError(f"weights {path} were not exported by this project: {_FIX}")
        self.facts = parse_facts(text, f"weights {path}")
        self._check_graph(path)
        _check_run(self, path)

    def _check_graph(self, path: Path) -> None:
        """One input and one output as export writes them, of any size."""
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        output = "logits" if self.segments else "cam"
        for entries, name in ((inputs, "images"), (outputs, output)):
            found = ", ".join(f"{entry.name} {entry.type} {entry.shape}" for entry in entries)
            if (
                len(entries) != 1
                or (entries[0].name, entries[0].type) != (name, "tensor(float)")
                or len(entries[0].shape) != 4
            ):
                raise InputError(
                    f"weights {path} have {found[:200]}, expected {name} tensor(float) of 4 "
                    f"dimensions: {_FIX}"
                )
        if inputs[0].shape[1] != 3 or any(
            isinstance(inputs[0].shape[axis], int) for axis in (0, 2, 3)
        ):
            raise InputError(
                f"weights {path} take images of {inputs[0].shape}, expected any number of 3 "
                f"channels and any size: {_FIX}"
            )

    def _run(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(self.session.run(None, {"images": images})[0])


class TorchNetwork(_Network):
    """A network's file of this project, or deeplab-pytorch's, on a device that PyTorch knows.

    `model` is the classifier or segmentation network.
    """

    def __init__(self, path: Path, device: str = "auto", precision: str = "fp32") -> None:
        import torch

        from smaf.core.device import choose_device
        from smaf.models import Segmenter, open_weights

        self.device, self.precision = choose_device(device), precision
        weights = open_weights(path)
        model, class_names = _build(weights)
        self.model: Any = model.to(self.device).to(memory_format=torch.channels_last)
        segments = isinstance(model, Segmenter)
        self.facts = NetworkFacts(
            class_names,
            tuple(model.mean),
            tuple(model.std),
            segments,
            segments and model.bgr,
            weights.predict,
        )

    def _run(self, images: np.ndarray) -> np.ndarray:
        import torch

        from smaf.core.device import autocast

        with torch.inference_mode(), autocast(self.device, self.precision):
            batch = (
                torch.from_numpy(images)
                .to(self.device)
                .contiguous(memory_format=torch.channels_last)
            )
            logits = self.model(batch) if self.segments else self.model.forward_cam(batch)
            return np.asarray(logits.float().cpu())


def _build(weights: WeightsFile) -> tuple[Any, tuple[str, ...]]:
    """The classifier or segmentation network of a file, in evaluation mode, and its class names."""
    from smaf.models import build_classifier, build_segmenter, fill_classifier, fill_segmenter

    segmenter, classifier, path = weights.segmenter, weights.classifier, weights.path
    if segmenter is not None:
        names = segmenter.class_names or (
            VOC_CLASSES if segmenter.num_classes == len(VOC_CLASSES) + 1 else ()
        )
        if not names:
            raise InputError(
                f"weights {path} do not name their {segmenter.num_classes - 1} classes: {_FIX}"
            )
        with _named(path):
            network = build_segmenter(
                segmenter.name,
                num_classes=segmenter.num_classes,
                output_stride=segmenter.output_stride,
            )
        fill_segmenter(network, weights)
        return network.eval(), names
    if classifier is None or not classifier.class_names:
        raise InputError(f"weights {path} do not name their classes: {_FIX}")
    if classifier.head == "cls":
        raise InputError(
            f"weights {path} are a plain-CAM network without a background channel: {_FIX}"
        )
    with _named(path):
        model = build_classifier(
            classifier.backbone,
            num_classes=classifier.num_classes,
            head=classifier.head,
            output_stride=classifier.output_stride,
        )
    fill_classifier(model, weights)
    return model.eval(), classifier.class_names


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the file's name before what is wrong with the network that it names."""
    try:
        yield
    except InputError as error:
        raise InputError(f"weights {path}: {error}") from error


class ProgramNetwork(_Network):
    """A program exported by :func:`smaf.models.export.export_program` (`.pt2`), run by PyTorch."""

    def __init__(self, path: Path, device: str = "auto") -> None:
        import torch

        from smaf.core.device import choose_device
        from smaf.models.programs import check_program
        from smaf.models.state_dicts import check_tensors

        require_file(path, "weights", _FIX)
        self.device = choose_device(device)
        try:
            self.facts = parse_facts(check_program(path), f"weights {path}")
            with _tensors_only():
                program = torch.export.load(str(path))
        except Exception as error:  # a damaged file raises nearly anything
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"weights {path} cannot be read as a program of this project ({_line(error)}): "
                f"{_FIX}"
            ) from error
        tensors = {**program.state_dict, **program.constants}
        check_tensors(
            {name: value for name, value in tensors.items() if isinstance(value, torch.Tensor)},
            path,
        )
        self.program: Any = program.module().to(self.device)
        _check_run(self, path)

    def _run(self, images: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            return np.asarray(self.program(torch.from_numpy(images).to(self.device)).float().cpu())


def _line(error: Exception) -> str:
    """An error's first line, for one of our own."""
    return next(
        (line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__
    )[:200]


def _check_run(network: _Network, path: Path) -> None:
    """Run a network whose graph came with the file on small images: does it give a channel a class
    and background?"""
    expected, images = len(network.class_names) + 1, np.zeros((2, 3, 64, 96), dtype=np.float32)
    try:
        logits = network._run(images)
    except Exception as error:  # each runtime has its own
        raise InputError(
            f"weights {path} cannot be run on images of 96×64 pixels ({_line(error)}): {_FIX}"
        ) from error
    if logits.ndim != 4 or len(logits) != len(images) or not np.isfinite(logits).all():
        raise InputError(
            f"weights {path} give {logits.shape} for images of {images.shape}, expected finite "
            f"maps of 4 dimensions: {_FIX}"
        )
    check_channels(logits.shape[1], expected, f"weights {path}")


@contextlib.contextmanager
def _tensors_only() -> Iterator[None]:
    """While it lasts, every `torch.load` takes tensors and plain values alone: PyTorch's own
    switch."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def open_network(weights: str, device: str = "auto", precision: str = "fp32") -> _Network:
    """Shipped weights by name, or a file: `.onnx` runs on the CPU, all else through PyTorch on
    `device`.

    Shipped weights go through PyTorch where a device other than the CPU is asked for by name.
    """
    path = shipped_weights().get(weights, Path(weights))
    if path.suffix == ".onnx" and device in {"auto", "cpu"}:
        return OnnxNetwork(path)
    if path.suffix == ".onnx" and weights in shipped_weights():
        path = path.with_suffix(".pth")
    elif path.suffix == ".onnx":
        raise InputError(
            f"--device {device}: ONNX files run on the CPU; name the .pth file they were made from"
        )
    if path.suffix == ".pt2":
        return ProgramNetwork(path, device)
    return TorchNetwork(path, device, precision)
