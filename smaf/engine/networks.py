"""Trained networks as prediction uses them: behind ONNX Runtime, or PyTorch."""

from __future__ import annotations

import contextlib
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smaf.core.classes import VOC_CLASSES
from smaf.core.errors import InputError
from smaf.core.files import require_file
from smaf.core.predict_settings import PredictSettings

_FIX = "name a network of this project (.pth, .onnx, .pt2), or one of the shipped weights"
# What the sizes in a program are written with, and the operators that it may name
_SIZE = re.compile(r"[\w\s+\-*/%(),<>=!&|~']*")
_SIZE_WORDS = re.compile(r"[suz]\d+|\d+|Symbol|Integer|positive|integer|nonnegative|Add|Mul|Pow|Max|Min|Mod|PythonMod|"
                         r"FloorDiv|CleanDiv|CeilDiv|IntTrueDiv|FloatTrueDiv|ToFloat|FloorToInt|CeilToInt|RoundToInt|"
                         r"TruncToInt|Identity|Where|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|oo|int_oo|True|False|None")
_OPERATOR = re.compile(r"_operator\.\w+|math\.\w+|torch\.sym_\w+|torch\.ops\.(?!aten\.from_file)(aten|prims)\.\w+\.\w+")


def shipped_weights() -> dict[str, Path]:
    """The networks that the package ships, by name: `.onnx`; beside it `.pth` and the model card `.md`."""
    folder = Path(__file__).resolve().parent.parent / "weights"
    return {path.stem: path for path in sorted(folder.glob("*.onnx"))}


@dataclass(frozen=True)
class NetworkFacts:
    """What a file says of its network. `segments`: it is a segmentation network, whose background comes first."""

    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    segments: bool = False
    bgr: bool = False
    settings: PredictSettings | None = None

    @staticmethod
    def parse(text: str) -> NetworkFacts:
        """From an exported file's JSON; KeyError, TypeError or ValueError where it is none of this project's."""
        facts = json.loads(text)
        predict = facts["predict"]
        settings = None if predict is None else PredictSettings(**{**predict, "scales": tuple(predict["scales"])})
        return NetworkFacts(tuple(facts["classes"]), tuple(facts["mean"]), tuple(facts["std"]),
                            bool(facts.get("segments", False)), bool(facts.get("bgr", False)), settings)


class _Network:
    """The face of :class:`smaf.engine.predict.Network`; subclasses run the network in `_run`."""

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
        """See :class:`smaf.engine.predict.Network`."""
        logits = self._run(np.ascontiguousarray(images[:, ::-1]) if self.facts.bgr else images)
        return np.roll(logits, -1, axis=1) if self.facts.segments else logits

    def _run(self, images: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class OnnxNetwork(_Network):
    """A network exported by :func:`smaf.models.export.export_onnx`; starts in a tenth of PyTorch's time."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        require_file(path, "weights", _FIX)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            self.facts = NetworkFacts.parse(self.session.get_modelmeta().custom_metadata_map["smaf"])
        except KeyError as error:
            raise InputError(f"weights {path} were not exported by this project: {_FIX}") from error
        except Exception as error:  # a damaged file raises one of a dozen of the runtime's own types
            raise InputError(f"weights {path} cannot be read as ONNX ({str(error)[:200]}): {_FIX}") from error

    def _run(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(self.session.run(None, {"images": images})[0])


class TorchNetwork(_Network):
    """A network's file of this project, or deeplab-pytorch's, on a device that PyTorch knows.

    `model` is the classifier or segmentation network.
    """

    def __init__(self, path: Path, device: str = "auto", precision: str = "fp32") -> None:
        import torch

        from smaf.core.device import choose_device
        from smaf.models import Segmenter, read_predict_settings

        self.device, self.precision = choose_device(device), precision
        model, class_names = _read_network(path)
        self.model: Any = model.to(self.device).to(memory_format=torch.channels_last)
        segments = isinstance(model, Segmenter)
        self.facts = NetworkFacts(class_names, tuple(model.mean), tuple(model.std), segments, segments and model.bgr,
                                  read_predict_settings(path))

    def _run(self, images: np.ndarray) -> np.ndarray:
        import torch

        from smaf.core.device import autocast

        with torch.inference_mode(), autocast(self.device, self.precision):
            batch = torch.from_numpy(images).to(self.device).contiguous(memory_format=torch.channels_last)
            logits = self.model(batch) if self.segments else self.model.forward_cam(batch)
            return np.asarray(logits.float().cpu())


def _read_network(path: Path) -> tuple[Any, tuple[str, ...]]:
    """The classifier or segmentation network of a file, in evaluation mode, and its class names."""
    from smaf.models import (
        build_classifier,
        build_segmenter,
        load_segmenter,
        load_weights,
        read_info,
        read_segmenter_info,
    )

    segmenter = read_segmenter_info(path)
    if segmenter is not None:
        names = segmenter.class_names or (VOC_CLASSES if segmenter.num_classes == len(VOC_CLASSES) + 1 else ())
        if not names:
            raise InputError(f"weights {path} do not name their {segmenter.num_classes - 1} classes: {_FIX}")
        network = build_segmenter(segmenter.name, num_classes=segmenter.num_classes,
                                  output_stride=segmenter.output_stride)
        load_segmenter(network, path)
        return network.eval(), names
    info = read_info(path)
    if info is None or not info.class_names:
        raise InputError(f"weights {path} do not name their classes: {_FIX}")
    model = build_classifier(info.backbone, num_classes=info.num_classes, head=info.head,
                             output_stride=info.output_stride)
    load_weights(model, path)
    if model.head == "cls":
        raise InputError(f"weights {path} are a plain-CAM network without a background channel: {_FIX}")
    return model.eval(), info.class_names


class ProgramNetwork(_Network):
    """A program exported by :func:`smaf.models.export.export_program` (`.pt2`), run by PyTorch."""

    def __init__(self, path: Path, device: str = "auto") -> None:
        import torch

        from smaf.core.device import choose_device

        require_file(path, "weights", _FIX)
        self.device = choose_device(device)
        extra = {"smaf.json": ""}
        try:
            _check_program(path)
            with _tensors_only():
                program = torch.export.load(str(path), extra_files=extra)
            self.facts = NetworkFacts.parse(extra["smaf.json"])
        except InputError:
            raise
        except Exception as error:  # a damaged file raises nearly anything
            raise InputError(f"weights {path} cannot be read as a program of this project ({str(error)[:200]}): {_FIX}"
                             ) from error
        self.program: Any = program.module().to(self.device)

    def _run(self, images: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            return np.asarray(self.program(torch.from_numpy(images).to(self.device)).float().cpu())


@contextlib.contextmanager
def _tensors_only() -> Iterator[None]:
    """While it lasts, every `torch.load` takes tensors and plain values alone: PyTorch's own switch."""
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


def _check_program(path: Path) -> None:
    """Refuse a program that could run code of its own while PyTorch reads or runs it.

    Beside tensors it holds sizes as expressions (SymPy evaluates them), operators by name, and perhaps guards, which
    are Python, or objects of custom classes: arithmetic and PyTorch's own operators are taken, the rest is not.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(set(names)) < len(names):  # PyTorch might read the other one
            raise InputError(f"weights {path} hold a file twice: {_FIX}")
        for name in names:
            if "custom_obj" in name or "aotinductor" in name:
                raise InputError(f"weights {path} hold {name}, more than a program and its tensors: {_FIX}")
            if not name.endswith(".json") or name.endswith("/extra/smaf.json"):
                continue
            facts = json.loads(archive.read(name))
            if isinstance(facts, dict) and facts.get("guards_code"):
                raise InputError(f"weights {path} hold code, more than a program and its tensors: {_FIX}")
            for text in _strings(facts, "expr_str"):
                if not _SIZE.fullmatch(text) or not all(map(_SIZE_WORDS.fullmatch, re.findall(r"\w+", text))):
                    raise InputError(f"weights {path} hold the size {text[:60]!r}, which is no arithmetic: {_FIX}")
            for text in _strings(facts, "target"):
                if "." in text and not _OPERATOR.fullmatch(text):
                    raise InputError(f"weights {path} use {text[:60]!r}, which is no operator of a network: {_FIX}")


def _strings(value: Any, key: str) -> Iterator[str]:
    """Every text of that key in JSON."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            if name == key and isinstance(part, str):
                yield part
            else:
                yield from _strings(part, key)
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part, key)


def open_network(weights: str, device: str = "auto", precision: str = "fp32") -> _Network:
    """Shipped weights by name, or a file: `.onnx` runs on the CPU, all else through PyTorch on `device`.

    Shipped weights go through PyTorch where a device other than the CPU is asked for by name.
    """
    path = shipped_weights().get(weights, Path(weights))
    if path.suffix == ".onnx" and device in {"auto", "cpu"}:
        return OnnxNetwork(path)
    if path.suffix == ".onnx" and weights in shipped_weights():
        path = path.with_suffix(".pth")
    elif path.suffix == ".onnx":
        raise InputError(f"--device {device}: ONNX files run on the CPU; name the .pth file they were made from")
    if path.suffix == ".pt2":
        return ProgramNetwork(path, device)
    return TorchNetwork(path, device, precision)
