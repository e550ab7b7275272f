"""Load a checkpoint into a network; one that does not fit is refused and the network unchanged."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from smaf.core.errors import InputError
from smaf.models.checkpoint import Checkpoint, read_checkpoint
from smaf.models.classifier import Classifier, TimmClassifier
from smaf.models.published import widen_eps_head
from smaf.models.segmenter import Segmenter, has_decoder
from smaf.models.state_dicts import BODY, peeled, under_names_of
from smaf.models.timm_states import fitted_state

log = logging.getLogger("smaf")
# Modules of an ImageNet network that ours do without
_IMAGENET_HEADS = {"fc", "classifier", "head", "head_dist", "fc_norm", "last_linear", "AuxLogits"}


def load_checkpoint(
    model: Classifier | Segmenter, checkpoint: Checkpoint | str | Path, *, adapt_head: bool = False
) -> None:
    """Load a checkpoint into `model`: a whole network, or weights for its backbone alone.

    Into a classifier go a classifier of the same backbone, head and class count, or ImageNet
    weights; into a segmentation network the same network, deeplab-pytorch's COCO initialisation,
    ImageNet weights, or a classifier of this project with the same backbone.

    Args:
        model: the network; it is changed only where the checkpoint fits.
        checkpoint: what :func:`read_checkpoint` gave, or the file's path.
        adapt_head: turn an EPS head into a SMAF head with the same CAMs where the classifier has a
            SMAF head (:func:`smaf.models.widen_eps_head`).

    Raises:
        InputError: names what differs: network, backbone, head, class count, or a tensor's shape.

    >>> from smaf.models import build_classifier
    >>> model = build_classifier("test_efficientnet", num_classes=3)
    >>> load_checkpoint(model, Checkpoint(Path("model.pth"), model.state_dict()))
    >>> other = Checkpoint(Path("other.pth"), {"fc8.weight": model.fc8.weight})
    >>> load_checkpoint(model, other)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    smaf.core.errors.InputError: weights other.pth are not of the backbone test_efficientnet ...
    """
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = read_checkpoint(checkpoint)
    if isinstance(model, Classifier):
        state = _for_classifier(model, checkpoint, adapt_head=adapt_head)
    else:
        state = _for_segmenter(model, checkpoint)
    _fill(model, state, checkpoint.path)


def _for_classifier(
    model: Classifier, checkpoint: Checkpoint, *, adapt_head: bool
) -> dict[str, Tensor]:
    """The checkpoint's tensors under the classifier's keys."""
    state, info = checkpoint.state, checkpoint.classifier
    if info is not None and adapt_head and (info.head, model.head) == ("eps", "smaf"):
        state = widen_eps_head(state)
        info = replace(info, head="smaf")
    if info is not None and not info.class_names and (info.head, model.head) == ("eps", "cls"):
        # The keys of a release's checkpoint cannot tell EPS's C + 1 channels from plain CAM's C
        info = replace(info, head="cls", num_classes=info.num_classes + 1)
    if info is not None:
        _refuse_other(
            checkpoint.path,
            (
                ("backbone", info.backbone, model.backbone_name),
                ("head", info.head, model.head),
                ("class count", info.num_classes, model.num_classes),
            ),
        )
    if info is None and (fitted := _fitted(model, state)):
        return fitted
    return under_names_of(model.state_dict(), state)


def _fitted(model: Classifier, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A whole timm network's tensors under the keys of the classifier's backbone, or nothing."""
    if not isinstance(model, TimmClassifier):
        return {}
    body = model.get_submodule("backbone.body")
    for stripped in peeled(state):
        if fitted := fitted_state(body, stripped):
            return {BODY + key: tensor for key, tensor in fitted.items()}
    return {}


def _for_segmenter(model: Segmenter, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The checkpoint's tensors under the network's keys; empty where it has none for it."""
    info, start, path = checkpoint.segmenter, checkpoint.classifier, checkpoint.path
    if info is not None:
        _refuse_other(
            path,
            (
                ("network", info.name, model.backbone_name),
                ("class count with background", info.num_classes, model.num_classes),
            ),
        )
    if start is not None and start.backbone != model.backbone_name:
        raise InputError(
            f"weights {path} are a classifier with the backbone {start.backbone}, the network is "
            f"{model.backbone_name}: name the same backbone, or other weights"
        )
    head = model.head_keys()
    for stripped in peeled(checkpoint.state):
        if any(key in stripped for key in head):
            if model.decoder is None and has_decoder(stripped):
                raise InputError(
                    f"weights {path} have a decoder, the model has none: build it with one "
                    "(--decoder), or name other weights"
                )
            return model.completed(stripped)
        try:
            backbone = model.backbone_state(stripped)
        except (LookupError, ValueError, RuntimeError) as error:
            # Keys like a ResNet's, but not all of them, or tensors of other shapes
            raise InputError(
                f"weights {path} are not of a network that {model.backbone_name} can start from "
                f"({str(error)[:100]}): name other weights"
            ) from error
        if backbone:
            return backbone
    return {}


def _refuse_other(path: Path, pairs: Iterable[tuple[str, object, object]]) -> None:
    """Refuse a file whose facts (name, the file's value, the model's value) are not the model's."""
    for what, theirs, ours in pairs:
        if theirs != ours:
            raise InputError(
                f"weights {path} have the {what} {theirs}, the model has {ours}: build the model "
                f"with {what} {theirs}, or name other weights"
            )


def _fill(model: Classifier | Segmenter, state: Mapping[str, Tensor], path: Path) -> None:
    """Load `state` where everything fits: all tensors, or all but the head's where it has none.

    A warning names tensors that the network has no place for, except an ImageNet network's head.
    """
    own, head = model.state_dict(), model.head_keys()
    required = set(own) if any(key in head for key in state) else set(own) - head
    taken = {key: tensor for key, tensor in state.items() if key in own}
    if fault := _misfit(own, taken, required):
        raise InputError(
            f"weights {path} are not of {model.described}: {fault}: name the right one, or other "
            "weights"
        )
    spare = [
        key
        for key in state
        if key not in own
        and key.removeprefix(BODY).partition(".")[0] not in _IMAGENET_HEADS
        and not key.endswith("num_batches_tracked")
    ]
    if spare:
        log.warning(
            "warning: weights %s hold %d tensors that %s has no place for (%s): are they of "
            "another network?",
            path,
            len(spare),
            model.described,
            ", ".join(spare[:3]),
        )
    model.load_state_dict(
        {key: tensor.to(own[key].dtype) for key, tensor in taken.items()}, strict=False
    )


def _misfit(
    own: Mapping[str, Tensor], taken: Mapping[str, Tensor], required: Collection[str]
) -> str | None:
    """Why the tensors `taken` do not fit a network's `own` tensors, None where they do."""
    # num_batches_tracked is not in every release, and is not used
    missing = sorted(
        key for key in set(required) - set(taken) if not key.endswith("num_batches_tracked")
    )
    other = sorted(key for key, tensor in taken.items() if tensor.shape != own[key].shape)
    faults = [f"{key} is missing" for key in missing[:1]]
    faults += [
        f"{key} is {tuple(taken[key].shape)}, expected {tuple(own[key].shape)}" for key in other[:1]
    ]
    faults += [
        f"{key} is of {str(tensor.dtype).removeprefix('torch.')}, expected floating point"
        for key, tensor in taken.items()
        if own[key].is_floating_point() and not tensor.is_floating_point()
    ]
    faults += [
        f"{key} is a variance below 0"
        for key, tensor in taken.items()
        if key.endswith("running_var") and bool((tensor < 0).any())
    ]
    if not faults:
        return None
    return f"{faults[0]} ({len(missing)} missing, {len(other)} of another shape)"
