"""Trained classifiers as :mod:`smaf.engine.predict` uses them: behind ONNX Runtime, or PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from smaf.core.errors import InputError
from smaf.core.files import require_file
from smaf.core.predict_settings import PredictSettings

_FIX = "name a classifier of this project (.pth, .onnx), or one of the shipped weights"


def shipped_weights() -> dict[str, Path]:
    """The classifiers that the package ships, by name: `.onnx`; beside it `.pth` and the model card `.md`."""
    folder = Path(__file__).resolve().parent.parent / "weights"
    return {path.stem: path for path in sorted(folder.glob("*.onnx"))}


class OnnxNetwork:
    """A classifier exported by :func:`smaf.models.export.export_onnx`; starts in a tenth of PyTorch's time."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        require_file(path, "weights", _FIX)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            facts = json.loads(self.session.get_modelmeta().custom_metadata_map["smaf"])
        except KeyError as error:
            raise InputError(f"weights {path} were not exported by this project: {_FIX}") from error
        except Exception as error:  # a damaged file raises one of a dozen of the runtime's own types
            raise InputError(f"weights {path} cannot be read as ONNX ({str(error)[:200]}): {_FIX}") from error
        self.class_names = tuple(facts["classes"])
        self.mean, self.std = tuple(facts["mean"]), tuple(facts["std"])
        predict = facts["predict"]
        self.settings = None if predict is None else PredictSettings(**{**predict, "scales": tuple(predict["scales"])})

    def cam(self, images: np.ndarray) -> np.ndarray:
        """See :class:`smaf.engine.predict.Network`."""
        return np.asarray(self.session.run(None, {"images": images})[0])


class TorchNetwork:
    """A classifier file of this project on a device that PyTorch knows."""

    def __init__(self, path: Path, device: str = "auto") -> None:
        import torch

        from smaf.core.device import choose_device
        from smaf.models import build_classifier, load_weights, read_info, read_predict_settings

        info = read_info(path)
        if info is None or not info.class_names:
            raise InputError(f"weights {path} do not name their classes: {_FIX}")
        model = build_classifier(info.backbone, num_classes=info.num_classes, head=info.head,
                                 output_stride=info.output_stride)
        load_weights(model, path)
        if model.head == "cls":
            raise InputError(f"weights {path} are a plain-CAM network without a background channel: {_FIX}")
        self.device = choose_device(device)
        self.model: Any = model.to(self.device).to(memory_format=torch.channels_last)
        self.class_names, self.mean, self.std = info.class_names, model.mean, model.std
        self.settings = read_predict_settings(path)

    def cam(self, images: np.ndarray) -> np.ndarray:
        """See :class:`smaf.engine.predict.Network`."""
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(images).to(self.device).contiguous(memory_format=torch.channels_last)
            return np.asarray(self.model.forward_cam(batch).float().cpu())


def open_network(weights: str, device: str = "auto") -> OnnxNetwork | TorchNetwork:
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
    return TorchNetwork(path, device)

