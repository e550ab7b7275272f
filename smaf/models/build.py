"""Build a classifier or segmentation network by name, or the one that a checkpoint describes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from smaf.core.errors import InputError
from smaf.core.network_facts import NAME_ANOTHER, STRIDE_WORDS, STRIDES
from smaf.models.checkpoint import Checkpoint
from smaf.models.classifier import HEADS, RESNET38, Classifier, ResNet38Classifier, TimmClassifier
from smaf.models.deeplab import NAME as DEEPLAB
from smaf.models.deeplab import MultiScaleDeepLabV2
from smaf.models.efficientnet_lite import packaged_lite
from smaf.models.loading import load_checkpoint
from smaf.models.segmenter import LightSegmenter, Segmenter
from smaf.models.timm_backbone import TimmBackbone

IMAGENET = "imagenet"
_RUNS_AT_8 = {RESNET38: "ResNet-38", DEEPLAB: DEEPLAB}
Net = TypeVar("Net", Classifier, Segmenter)
Start = Checkpoint | str | Path | None


def build_classifier(
    backbone: str,
    *,
    num_classes: int,
    head: str = "smaf",
    pretrained: Start = None,
    output_stride: int | None = None,
) -> Classifier:
    """Build the classifier that the method trains, in evaluation mode.

    Args:
        backbone: `"resnet38"`, or a timm model (`"tf_efficientnet_lite0"`).
        num_classes: C, foreground classes.
        head: `"smaf"` (C + 1 channels over 128 features), `"eps"` (C + 1 channels) or `"cls"` (C
            channels).
        pretrained: None for random weights; `"imagenet"` for the ImageNet weights that are
            installed or that timm fetches; or a file, or the :class:`Checkpoint` read from it: a
            classifier with this backbone, head and class count, or ImageNet weights for the
            backbone alone.
        output_stride: of a timm model, 8, 14 or 16 (default: a vision transformer's own, its patch
            size; else 16); ResNet-38 runs at 8.

    Raises:
        InputError: an unknown name, or weights of another network; it names the difference.

    >>> import torch
    >>> model = build_classifier("test_efficientnet", num_classes=3, head="eps")
    >>> model.forward_cam(torch.zeros(2, 3, 64, 96)).shape  # 3 classes, then background
    torch.Size([2, 4, 4, 6])
    """
    if head not in HEADS:
        raise InputError(f"head {head!r}: expected one of {', '.join(HEADS)}")
    if num_classes < 1:
        raise InputError(f"num_classes {num_classes}: expected at least 1")
    stride, hub = _stride(backbone, output_stride), _from_hub(backbone, pretrained)
    model: Classifier
    if backbone == RESNET38:
        model = ResNet38Classifier(num_classes=num_classes, head=head)
    else:
        body = TimmBackbone(backbone, output_stride=stride, pretrained=hub)
        model = TimmClassifier(body, backbone, num_classes=num_classes, head=head)
    return _started(model, pretrained)


def build_segmenter(
    name: str,
    *,
    num_classes: int,
    pretrained: Start = None,
    output_stride: int | None = None,
    decoder: bool = False,
) -> Segmenter:
    """Build a segmentation network for stage 4, in evaluation mode.

    Args:
        name: `"deeplab_v2_resnet101"`, multi-scale as published, with deeplab-pytorch's keys; or a
            timm model (`"tf_efficientnet_lite0"`) with an ASPP head.
        num_classes: T, background included (21 for VOC); channel k of the logits is mask value k.
        pretrained: None for random weights; `"imagenet"` for weights that are installed or that
            torchvision and timm fetch; or a file, or the :class:`Checkpoint` read from it: this
            network, deeplab-pytorch's COCO initialisation, torchvision's or timm's ImageNet
            weights, or for a timm model a classifier of this project with the same backbone, whose
            EPS head is taken over, too.
        output_stride: of a timm model, 8, 14 or 16 (default: a vision transformer's own, its patch
            size; else 16); DeepLab-V2 runs at 8.
        decoder: an EfficientNet-Lite's logits at stride 4, by its features there; it starts with
            the logits of weights without it.

    Raises:
        InputError: an unknown name, or weights of another network; it names the difference.

    >>> import torch
    >>> network = build_segmenter("test_efficientnet", num_classes=4)
    >>> network(torch.zeros(1, 3, 64, 96)).shape
    torch.Size([1, 4, 4, 6])
    """
    if num_classes < 2:
        raise InputError(f"num_classes {num_classes}: expected at least 2, background included")
    if name == RESNET38:
        raise InputError(
            f"--network {name}: ResNet-38 is a classifier here; expected {DEEPLAB} or a timm model"
        )
    if name == DEEPLAB and decoder:
        raise InputError(f"{DEEPLAB} has no decoder: leave --decoder out, or take another network")
    stride, hub = _stride(name, output_stride), _from_hub(name, pretrained)
    if name == DEEPLAB:
        return _started(MultiScaleDeepLabV2(num_classes), pretrained)
    model = LightSegmenter(name, num_classes, output_stride=stride, fine=decoder, hub=hub)
    return _started(model, pretrained)


def build_network(checkpoint: Checkpoint) -> Classifier | Segmenter:
    """Build the network that a checkpoint describes, with its weights, in evaluation mode.

    Raises :class:`InputError` where the file tells of no network, names one that cannot be built,
    or holds other tensors than that network's.
    """
    network: Classifier | Segmenter
    with _named(checkpoint.path):
        if (segmenter := checkpoint.segmenter) is not None:
            network = build_segmenter(
                segmenter.name,
                num_classes=segmenter.num_classes,
                output_stride=segmenter.output_stride,
                decoder=segmenter.decoder,
            )
        elif (classifier := checkpoint.classifier) is not None:
            network = build_classifier(
                classifier.backbone,
                num_classes=classifier.num_classes,
                head=classifier.head,
                output_stride=classifier.output_stride,
            )
        else:
            raise InputError(f"they have no head, only a backbone: {NAME_ANOTHER}")
    load_checkpoint(network, checkpoint)
    return network


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the file's name before what is wrong with the network that it names."""
    try:
        yield
    except InputError as error:
        raise InputError(f"weights {path}: {error}") from error


def _stride(name: str, asked: int | None) -> int | None:
    """The output stride to ask a network for, None for its own; one that cannot be is refused."""
    if name in _RUNS_AT_8:
        if asked not in {None, 8}:
            raise InputError(f"output stride {asked}: {_RUNS_AT_8[name]} runs at 8")
        return 8
    if asked not in {None, *STRIDES}:
        raise InputError(f"output stride {asked}: expected {STRIDE_WORDS}")
    return asked


def _from_hub(name: str, pretrained: Start) -> bool:
    """Whether timm is to fetch a backbone's ImageNet weights: no installed package has them."""
    return pretrained == IMAGENET and not packaged_lite(name)


def _started(model: Net, pretrained: Start) -> Net:
    """The network with its first weights, trainable as the recipe has it, in evaluation mode."""
    if pretrained == IMAGENET:
        _load_imagenet(model)
    elif pretrained is not None:
        load_checkpoint(model, pretrained)
    return model.set_trainable().eval()


def _load_imagenet(model: Classifier | Segmenter) -> None:
    """Load ImageNet weights that are not timm's hub's, which the backbone was made with."""
    if model.backbone_name == RESNET38:
        raise InputError(
            "ResNet-38's ImageNet weights are in no package: download "
            "ilsvrc-cls_rna-a1_cls1000_ep-0001.params and name it with --weights"
        )
    if model.backbone_name == DEEPLAB:
        load_checkpoint(model, _torchvision_resnet101())
    elif (path := packaged_lite(model.backbone_name)) is not None:
        load_checkpoint(model, path)


def _torchvision_resnet101() -> Checkpoint:
    """torchvision's ImageNet weights, from its cache or its hub."""
    from torchvision.models import ResNet101_Weights

    try:
        state = ResNet101_Weights.IMAGENET1K_V1.get_state_dict(progress=False)
    except OSError as error:  # the hub is out of reach
        raise InputError(
            f"ResNet-101's ImageNet weights cannot be downloaded ({error}): name a file ("
            "torchvision's or timm's resnet101, or deeplab-pytorch's COCO initialisation) with "
            "--weights"
        ) from error
    return Checkpoint(Path("torchvision's resnet101"), dict(state))
