"""Build a segmentation network by name, load weights into it, write and read its own file."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from smaf.core.errors import InputError
from smaf.core.files import write_bytes
from smaf.core.predict_settings import PredictSettings
from smaf.models.build import IMAGENET
from smaf.models.classifier import RESNET38
from smaf.models.deeplab import NAME, MultiScaleDeepLabV2
from smaf.models.segmenter import LightSegmenter, Segmenter
from smaf.models.timm_backbone import LIGHT, packaged_lite0
from smaf.models.weights import load_torch, read_info, read_weights

FORMAT = "smaf-segmenter-1"


@dataclass(frozen=True)
class SegmenterInfo:
    """What a segmentation network's file says of itself; `class_names` are those of the values 1, 2 …"""

    name: str
    num_classes: int
    output_stride: int
    class_names: tuple[str, ...]


def build_segmenter(name: str, *, num_classes: int, pretrained: str | Path | None = None,
                    output_stride: int | None = None) -> Segmenter:
    """Build a segmentation network for stage 4.

    Args:
        name: `"deeplab_v2_resnet101"`, multi-scale as published, with deeplab-pytorch's keys; or a timm model
            (`"tf_efficientnet_lite0"`) with an ASPP head.
        num_classes: T, background included (21 for VOC): the logits' channels, channel k for the mask value k.
        pretrained: None for random weights; `"imagenet"` for the weights that are installed or that torchvision and
            timm fetch; or a file: a network of this name, or a start without its head: deeplab-pytorch's COCO
            initialisation, torchvision's or timm's ImageNet weights, or for a timm model a classifier of this project
            with the same backbone, whose EPS head is taken over, too.
        output_stride: of a timm model, 8 or 16 (default); DeepLab-V2 runs at 8.

    Returns:
        A module in evaluation mode: `forward(images)` → logits (N, T, h, w) at the output stride; in training mode
        the list of logits whose losses are summed. Images are normalised with the module's `mean` and `std`, and BGR
        where `bgr`.

    Raises:
        InputError: an unknown name, or weights of another network or class count; it names the difference.
    """
    if num_classes < 2:
        raise InputError(f"num_classes {num_classes}: expected at least 2, background included")
    if name == RESNET38:
        raise InputError(f"--network {name}: ResNet-38 is a classifier here; expected {NAME} or a timm model")
    if name == NAME:
        if output_stride not in {None, 8}:
            raise InputError(f"output stride {output_stride}: {NAME} runs at 8")
        model: Segmenter = MultiScaleDeepLabV2(num_classes)
    else:
        if output_stride not in {None, 8, 16}:
            raise InputError(f"output stride {output_stride}: expected 8 or 16")
        hub = pretrained == IMAGENET and not (name == LIGHT and packaged_lite0())
        model = LightSegmenter(name, num_classes, output_stride=output_stride or 16, hub=hub)
    if pretrained == IMAGENET:
        _load_imagenet(model)
    elif pretrained is not None:
        load_segmenter(model, pretrained)
    return model.set_trainable().eval()


def _load_imagenet(model: Segmenter) -> None:
    if model.backbone_name == NAME:
        from torchvision.models import ResNet101_Weights

        try:
            state = ResNet101_Weights.IMAGENET1K_V1.get_state_dict(progress=False)
        except OSError as error:  # the hub is out of reach
            raise InputError(f"ResNet-101's ImageNet weights cannot be downloaded ({error}): name a file ("
                             "torchvision's or timm's resnet101, or deeplab-pytorch's COCO initialisation) with "
                             "--weights") from error
        _load(model, model.backbone_state(state), "torchvision's resnet101")
    elif model.backbone_name == LIGHT and (path := packaged_lite0()) is not None:
        load_segmenter(model, path)


def load_segmenter(model: Segmenter, path: str | Path) -> None:
    """Load a checkpoint into `model`: a whole network, or a start without its head.

    Raises :class:`InputError` naming what differs: network, class count or shapes.
    """
    info = read_segmenter_info(path)
    if info is not None:
        for what, theirs, ours in (("network", info.name, model.backbone_name),
                                   ("class count with background", info.num_classes, model.num_classes)):
            if theirs != ours:
                raise InputError(f"weights {path} have the {what} {theirs}, the model has {ours}: build the model with "
                                 f"{what} {theirs}, or name other weights")
    state = read_weights(path)
    own = model.state_dict()
    head = [key for key in own if key.startswith(model.head_modules)]
    if not any(key in state for key in head):
        state = model.backbone_state(state)
        start = read_info(path)
        if start is not None and start.backbone != model.backbone_name:
            raise InputError(f"weights {path} are a classifier with the backbone {start.backbone}, the network is "
                             f"{model.backbone_name}: name the same backbone, or other weights")
    _load(model, state, path)


def _load(model: Segmenter, state: Mapping[str, Tensor], path: str | Path) -> None:
    own = model.state_dict()
    required = {key for key in own if not key.startswith(model.head_modules) and "num_batches_tracked" not in key}
    if any(key.startswith(model.head_modules) for key in state):
        required = {key for key in own if "num_batches_tracked" not in key}
    missing = sorted(required - set(state))
    other = sorted(key for key in state if key in own and state[key].shape != own[key].shape)
    if missing or other:
        detail = (f"{missing[0]} is missing" if missing else
                  f"{other[0]} is {tuple(state[other[0]].shape)}, expected {tuple(own[other[0]].shape)}")
        raise InputError(f"weights {path} are not of the network {model.backbone_name} with {model.num_classes} "
                         f"classes (background included): {detail} ({len(missing)} missing, {len(other)} of another "
                         "shape): name the right network, or other weights")
    model.load_state_dict({key: value.to(own[key].dtype) for key, value in state.items() if key in own}, strict=False)


def save_segmenter(path: Path, model: Segmenter, class_names: tuple[str, ...], *,
                   predict: PredictSettings | None = None, half: bool = False) -> None:
    """Write the network's own file: the state dict and what is needed to build it again; see `save_classifier`."""
    info = SegmenterInfo(model.backbone_name, model.num_classes, model.output_stride, class_names)
    state = {key: value.detach().cpu() for key, value in model.state_dict().items()}
    if half:
        state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    stream = io.BytesIO()
    extra = {} if predict is None else {"predict": asdict(predict)}
    torch.save({"format": FORMAT, "info": asdict(info), "state_dict": state, **extra}, stream)
    write_bytes(path, stream.getvalue())


def read_segmenter_info(path: str | Path) -> SegmenterInfo | None:
    """What a segmentation network's file says of itself; for deeplab-pytorch's, what its keys tell.

    None where the file holds no segmentation network.
    """
    value = load_torch(Path(path)) if Path(path).suffix != ".params" else None
    if not isinstance(value, Mapping):
        return None
    if value.get("format") == FORMAT:
        info = dict(value["info"])
        return SegmenterInfo(**{**info, "class_names": tuple(info["class_names"])})
    bias = value.get("base.aspp.c0.bias", value.get("module.base.aspp.c0.bias"))
    return SegmenterInfo(NAME, len(bias), 8, ()) if isinstance(bias, Tensor) else None
