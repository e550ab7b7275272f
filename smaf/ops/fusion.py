"""Stage 1: CAMs of one photograph at several scales and flips, fused into one map a class."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from smaf.core.class_maps import ClassMaps
from smaf.core.tensors import normalise
from smaf.core.views import PAPER_VIEWS, Views, check_label_filter
from smaf.ops.attention import attention_affinity, refine_by_affinity
from smaf.ops.views import resize_view, working_size

T = TypeVar("T")
Attention = Callable[[], Tensor]


def class_maps(
    cam: Tensor,
    num_classes: int,
    *,
    classes: Sequence[int] | None = None,
    label_filter: str = "maps",
) -> Tensor:
    """CAM logits (N, C+1, h, w) → softmax's foreground channels (N, n, h, w), background dropped.

    Of a plain-CAM network (N, C, h, w) it is the ReLU. `classes` are the n wanted ones, None all.
    With `label_filter="logits"` the softmax has these and the background alone; see
    :class:`smaf.core.views.Views`.

    Example:
        >>> cam = torch.zeros(1, 3, 1, 1)  # two classes and background
        >>> [round(v, 3) for v in class_maps(cam, 2).flatten().tolist()]
        [0.333, 0.333]
        >>> class_maps(cam, 2, classes=[1], label_filter="logits").flatten().tolist()
        [0.5]
    """
    check_label_filter(label_filter)
    wanted = list(range(num_classes) if classes is None else classes)
    if cam.shape[1] == num_classes:
        return F.relu(cam[:, wanted])
    if label_filter == "logits":
        return cam[:, [*wanted, num_classes]].softmax(dim=1)[:, :-1]
    return cam.softmax(dim=1)[:, wanted]


@torch.inference_mode()
def fuse_cams(
    model: nn.Module,
    image: Image.Image,
    labels: np.ndarray | Tensor,
    *,
    views: Views = PAPER_VIEWS,
    at_once: int = 1,
    attention: Attention | None = None,
) -> ClassMaps:
    r"""Fuse the CAMs of several views of one photograph (SMAF, stage 1).

    For each scale the image is resized (bicubic) and normalised with the model's `mean` and `std`;
    the CAM's softmax is brought to the image's size (bilinear), flipped back, and kept for the
    labelled classes. The views are summed, each class divided by (its maximum + 1e-5). A plain-CAM
    network (head `"cls"`) gives ReLU for softmax.

    .. math:: M_c = \frac{S_c}{\max S_c + 10^{-5}}, \quad
        S_c = \sum_{s} A_c(x_s) + \overleftarrow{A_c(\overleftarrow{x_s})}

    with the photograph x at scale s, the class's softmax map A, and an arrow for a mirror image.

    Args:
        model: a classifier of :func:`smaf.models.build_classifier`; its device is used, its mode
            left as it was.
        image: PIL image, W×H; other modes are converted to RGB.
        labels: (C,), 1 where the image shows the class.
        views: which sizes and mirror images.
        at_once: how many of them run side by side, each in a part of PyTorch's threads.
        attention: gives the attention of the last forward pass, as what
            :func:`smaf.models.attention_of` yields does; each view's maps are then refined by it
            (:func:`smaf.ops.refine_by_affinity`). Departs from the paper.

    Returns:
        `{class index: (H, W) float32 in [0, 1)}`, labelled classes only.
    """
    labels = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    num_classes = _num_classes(model)
    if labels.shape != (num_classes,):
        raise ValueError(f"expected labels ({num_classes},), got {labels.shape}")
    classes = np.flatnonzero(labels > 0).tolist()
    if not classes:
        return {}
    total = _sum_views(model, image, classes, views, at_once, attention)
    total = total / (total.amax(dim=(1, 2), keepdim=True) + 1e-5)
    return dict(zip(classes, total.cpu().numpy(), strict=True))


@torch.inference_mode()
def torch_mean_maps(
    model: nn.Module,
    image: Image.Image,
    *,
    classes: Sequence[int] | None = None,
    views: Views = PAPER_VIEWS,
) -> Tensor:
    """Mean over the views of the softmax maps of `classes` (None: all), not normalised.

    The way from a photograph to maps through PyTorch; :func:`smaf.ops.mean_maps` is the one through
    NumPy, with the same values.

    Args:
        model: a classifier or segmentation network; its device is used, its mode left as it was.
        image: PIL image, W×H; other modes are converted to RGB.
        classes: indices of the n classes that are wanted, background not counted.
        views: which sizes and mirror images.

    Returns:
        (n, H, W) float32 in 0..1 on the model's device (0 or more of a plain-CAM network).
    """
    wanted = list(range(_num_classes(model)) if classes is None else classes)
    return _sum_views(model, image, wanted, views) / views.count


def _sum_views(
    model: nn.Module,
    image: Image.Image,
    classes: Sequence[int],
    views: Views,
    at_once: int = 1,
    attention: Attention | None = None,
) -> Tensor:
    """The views' maps of `classes` at the image's size, flipped back and summed: (n, H, W)."""
    if not classes:
        return torch.zeros(0, image.height, image.width, device=_device(model))
    image = image if image.mode == "RGB" else image.convert("RGB")
    size, label_filter = working_size(image.size, views), views.label_filter

    @torch.inference_mode()
    def maps_of(view: tuple[float, bool]) -> Tensor:
        scale, flipped = view
        pixels = _view(model, resize_view(image, size, scale))
        logits = _logits(model, pixels.flip(3) if flipped else pixels)
        maps = class_maps(logits, _num_classes(model), classes=classes, label_filter=label_filter)
        maps = maps if attention is None else _refined(maps, attention())
        maps = maps.flip(3) if flipped else maps
        return F.interpolate(maps, size=size[::-1], mode="bilinear", align_corners=False)[0]

    # The largest view first: it sets the peak of memory, and what it leaves fits the others
    mirrored = (False, True) if views.flip else (False,)
    order = [(scale, flip) for scale in sorted(views.scales, reverse=True) for flip in mirrored]
    total = torch.zeros(len(classes), size[1], size[0], device=_device(model))
    training = model.training
    model.eval()
    try:
        for maps in _in_threads(maps_of, order, at_once):
            total += maps
    finally:
        model.train(training)
    if size != image.size:  # the size cap or long_side acted
        total = F.interpolate(
            total[None], size=image.size[::-1], mode="bilinear", align_corners=False
        )[0]
    return total


def _refined(maps: Tensor, attention: Tensor) -> Tensor:
    """A view's maps (1, n, h, w), refined by the attention (1, T, T) of the pass that gave them."""
    prefix = attention.shape[2] - maps.shape[2] * maps.shape[3]
    affinity = torch.stack([attention_affinity(tokens, prefix=prefix) for tokens in attention])
    return refine_by_affinity(maps, affinity)


def _in_threads(work: Callable[[T], Tensor], items: Sequence[T], at_once: int) -> Iterator[Tensor]:
    """What `work` gives of each item, in their order, `at_once` of them at a time.

    They share PyTorch's threads. Those of one item wait for each other after each layer, where one
    whose core is busy with something else holds up all; items do not wait for each other.
    """
    if at_once == 1:
        yield from map(work, items)
        return
    threads = torch.get_num_threads()
    share = (max(1, threads // at_once),)
    try:
        with ThreadPoolExecutor(at_once, initializer=torch.set_num_threads, initargs=share) as pool:
            yield from pool.map(work, items)
    finally:
        torch.set_num_threads(threads)


def _view(model: Any, image: Image.Image) -> Tensor:
    """A view as the network takes it, (1, 3, h, w)."""
    mean, std = getattr(model, "mean", None), getattr(model, "std", None)
    if mean is None or std is None:
        raise TypeError(
            f"{type(model).__name__} does not carry mean and std: build it with build_classifier"
        )
    device = _device(model)
    view = normalise(image, mean, std, bgr=getattr(model, "bgr", False))[None].to(device)
    # PyTorch's convolutions on the CPU are faster so
    return view.contiguous(memory_format=torch.channels_last) if device.type == "cpu" else view


def _logits(model: Any, images: Tensor) -> Tensor:
    """(N, C+1, h, w) float32 logits, background last; (N, C, h, w) of a plain-CAM network."""
    if hasattr(model, "forward_cam"):
        return Tensor.float(model.forward_cam(images))
    return Tensor.float(model(images)).roll(
        -1, dims=1
    )  # a segmentation network's background: first


def _num_classes(model: Any) -> int:
    """How many classes a network has without background, which a segmentation network counts."""
    return int(model.num_classes) - (0 if hasattr(model, "forward_cam") else 1)


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
