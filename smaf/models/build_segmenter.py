"""Build a segmentation network by name and load weights into it, refusing those that do not fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from smaf.core.errors import InputError
from smaf.models.build import IMAGENET
from smaf.models.classifier import RESNET38
from smaf.models.deeplab import NAME, MultiScaleDeepLabV2
from smaf.models.segmenter import LightSegmenter, Segmenter
from smaf.models.state_dicts import fill, peeled
from smaf.models.timm_backbone import LIGHT, packaged_lite0
from smaf.models.weights import WeightsFile, open_weights


def build_segmenter(
    name: str,
    *,
    num_classes: int,
    pretrained: str | Path | None = None,
    output_stride: int | None = None,
) -> Segmenter:
    """Build a segmentation network for stage 4.

    Args:
        name: `"deeplab_v2_resnet101"`, multi-scale as published, with deeplab-pytorch's keys; or a
            timm model (`"tf_efficientnet_lite0"`) with an ASPP head.
        num_classes: T, background included (21 for VOC): the logits' channels, channel k for the
            mask value k.
        pretrained: None for random weights; `"imagenet"` for the weights that are installed or that
            torchvision and timm fetch; or a file: a network of this name, or a start without its
            head: deeplab-pytorch's COCO initialisation, torchvision's or timm's ImageNet weights,
            or for a timm model a classifier of this project with the same backbone, whose EPS head
            is taken over, too.
        output_stride: of a timm model, 8 or 16 (default); DeepLab-V2 runs at 8.

    Returns:
        A module in evaluation mode: `forward(images)` → logits (N, T, h, w) at the output stride;
        in training mode the list of logits whose losses are summed. Images are normalised with the
        module's `mean` and `std`, and BGR where `bgr`.

    Raises:
        InputError: an unknown name, or weights of another network or class count; it names the
            difference.
    """
    if num_classes < 2:
        raise InputError(f"num_classes {num_classes}: expected at least 2, background included")
    if name == RESNET38:
        raise InputError(
            f"--network {name}: ResNet-38 is a classifier here; expected {NAME} or a timm model"
        )
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
            raise InputError(
                f"ResNet-101's ImageNet weights cannot be downloaded ({error}): name a file ("
                "torchvision's or timm's resnet101, or deeplab-pytorch's COCO initialisation) with "
                "--weights"
            ) from error
        _fill(model, model.backbone_state(state), "torchvision's resnet101")
    elif model.backbone_name == LIGHT and (path := packaged_lite0()) is not None:
        load_segmenter(model, path)


def load_segmenter(model: Segmenter, path: str | Path) -> None:
    """Load a checkpoint into `model`: a whole network, or a start without its head.

    Raises :class:`InputError` naming what differs: network, class count or shapes.
    """
    fill_segmenter(model, open_weights(path))


def fill_segmenter(model: Segmenter, weights: WeightsFile) -> None:
    """:func:`load_segmenter` of a file that was read."""
    info, path = weights.segmenter, weights.path
    if info is not None:
        for what, theirs, ours in (
            ("network", info.name, model.backbone_name),
            ("class count with background", info.num_classes, model.num_classes),
        ):
            if theirs != ours:
                raise InputError(
                    f"weights {path} have the {what} {theirs}, the model has {ours}: build the "
                    f"model with {what} {theirs}, or name other weights"
                )
    start = weights.classifier
    if start is not None and start.backbone != model.backbone_name:
        raise InputError(
            f"weights {path} are a classifier with the backbone {start.backbone}, the network is "
            f"{model.backbone_name}: name the same backbone, or other weights"
        )
    _fill(model, _for_network(model, weights.state, path), path)


def _for_network(model: Segmenter, state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """A state dict under the network's keys: the whole network's, or its start; empty where it is
    for neither."""
    own = model.state_dict()
    head = [key for key in own if key.startswith(model.head_modules)]
    for stripped in peeled(state):
        if any(key in stripped for key in head):
            return stripped
        try:
            start = model.backbone_state(stripped)
        except (
            LookupError,
            ValueError,
            RuntimeError,
        ) as error:  # keys like a ResNet's, but not all, or other shapes
            raise InputError(
                f"weights {path} are not of a network that {model.backbone_name} can start from "
                f"({str(error)[:100]}): name other weights"
            ) from error
        if start:
            return start
    return {}


def _fill(model: Segmenter, state: Mapping[str, Tensor], path: str | Path) -> None:
    head = {key for key in model.state_dict() if key.startswith(model.head_modules)}
    required = set(model.state_dict()) - (set() if any(key in head for key in state) else head)
    fill(
        model,
        state,
        required,
        path=path,
        described=(
            f"the network {model.backbone_name} with {model.num_classes} classes (background "
            "included)"
        ),
    )
