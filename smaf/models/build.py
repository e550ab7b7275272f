"""Build a classifier by name and load weights into it, refusing those that do not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from smaf.core.errors import InputError
from smaf.core.network_facts import ClassifierInfo
from smaf.models.classifier import (
    HEAD_MODULES,
    HEADS,
    RESNET38,
    Classifier,
    ResNet38Classifier,
    TimmClassifier,
)
from smaf.models.state_dicts import fill, under_names_of
from smaf.models.timm_backbone import LIGHT, TimmBackbone, packaged_lite0
from smaf.models.weights import WeightsFile, open_weights, widen_eps_head

IMAGENET = "imagenet"


def build_classifier(
    backbone: str,
    *,
    num_classes: int,
    head: str = "smaf",
    pretrained: str | Path | None = None,
    output_stride: int | None = None,
) -> Classifier:
    """Build the classifier that the method trains.

    Args:
        backbone: `"resnet38"`, or a timm model (`"tf_efficientnet_lite0"`).
        num_classes: C, foreground classes.
        head: `"smaf"` (C + 1 channels over 128 features), `"eps"` (C + 1 channels) or `"cls"` (C
            channels).
        pretrained: None for random weights; `"imagenet"` for the ImageNet weights that are
            installed or that timm fetches; or a file: a classifier with this backbone, head and
            class count, or ImageNet weights alone, to which the head stays random. See
            :func:`open_weights` for formats.
        output_stride: 8 or 16; default 8 for ResNet-38 (its only one), 16 for timm's.

    Returns:
        A module in evaluation mode: `forward(images)` → scores (N, C+1), CAM logits (N, C+1, h, w),
        features (N, D, h, w); `forward_cam(images)` → CAM logits. Images are normalised with the
        module's `mean`, `std`.

    Raises:
        InputError: an unknown name, or weights of another head, backbone or class count; it names
            the difference.
    """
    if head not in HEADS:
        raise InputError(f"head {head!r}: expected one of {', '.join(HEADS)}")
    if num_classes < 1:
        raise InputError(f"num_classes {num_classes}: expected at least 1")
    if backbone == RESNET38:
        if output_stride not in {None, 8}:
            raise InputError(f"output stride {output_stride}: ResNet-38 runs at 8")
        model: Classifier = ResNet38Classifier(num_classes=num_classes, head=head)
    else:
        if output_stride not in {None, 8, 16}:
            raise InputError(f"output stride {output_stride}: expected 8 or 16")
        hub = pretrained == IMAGENET and not (backbone == LIGHT and packaged_lite0())
        body = TimmBackbone(backbone, output_stride=output_stride or 16, pretrained=hub)
        model = TimmClassifier(body, backbone, num_classes=num_classes, head=head)
    if pretrained == IMAGENET:
        _load_imagenet(model)
    elif pretrained is not None:
        load_weights(model, pretrained)
    return model.set_trainable().eval()


def _load_imagenet(model: Classifier) -> None:
    if model.backbone_name == RESNET38:
        raise InputError(
            "ResNet-38's ImageNet weights are in no package: download "
            "ilsvrc-cls_rna-a1_cls1000_ep-0001.params and name it with --weights"
        )
    path = packaged_lite0() if model.backbone_name == LIGHT else None
    if path is not None:
        load_weights(model, path)


def load_weights(model: Classifier, path: str | Path, *, adapt_head: bool = False) -> None:
    """Load a checkpoint into `model`: a whole classifier, or ImageNet weights without a head.

    With `adapt_head` an EPS head is turned into a SMAF head with the same CAMs
    (:func:`widen_eps_head`). Raises :class:`InputError` naming what differs: backbone, head, class
    count, output stride or shapes.
    """
    fill_classifier(model, open_weights(path), adapt_head=adapt_head)


def fill_classifier(model: Classifier, weights: WeightsFile, *, adapt_head: bool = False) -> None:
    """:func:`load_weights` of a file that was read."""
    state, info, path = weights.state, weights.classifier, weights.path
    if info is not None and adapt_head and (info.head, model.head) == ("eps", "smaf"):
        state = widen_eps_head(state)
        info = replace(info, head="smaf")
    if info is not None and not info.class_names and (info.head, model.head) == ("eps", "cls"):
        # The keys of a release's checkpoint cannot tell EPS's C + 1 channels from plain CAM's C
        info = replace(info, head="cls", num_classes=info.num_classes + 1)
    if info is not None:
        _check_info(info, model, path)
    own = model.state_dict()
    state = under_names_of(own, state)
    head = {key for key in own if key.split(".")[0] in HEAD_MODULES}
    fill(
        model,
        state,
        own if any(key in head for key in state) else set(own) - head,
        path=path,
        described=(
            f"the backbone {model.backbone_name} with head {model.head} and "
            f"{model.num_classes} classes"
        ),
    )


def _check_info(info: ClassifierInfo, model: Classifier, path: str | Path) -> None:
    pairs = (
        ("backbone", info.backbone, model.backbone_name),
        ("head", info.head, model.head),
        ("class count", info.num_classes, model.num_classes),
    )
    for what, theirs, ours in pairs:
        if theirs != ours:
            raise InputError(
                f"weights {path} have the {what} {theirs}, the model has {ours}: build the model "
                f"with {what} {theirs}, or name other weights"
            )
