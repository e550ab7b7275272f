"""What a network's files say of it, read off the network itself."""

from __future__ import annotations

from smaf.core.network_facts import ClassifierInfo, NetworkFacts, SegmenterInfo
from smaf.core.predict_settings import PredictSettings
from smaf.models.classifier import Classifier
from smaf.models.segmenter import Segmenter


def info_of(
    model: Classifier | Segmenter, class_names: tuple[str, ...]
) -> ClassifierInfo | SegmenterInfo:
    """What a checkpoint says of `model`: all that is needed to build it again."""
    if isinstance(model, Classifier):
        return ClassifierInfo(
            model.backbone_name, model.head, model.num_classes, model.output_stride, class_names
        )
    return SegmenterInfo(
        model.backbone_name,
        model.num_classes,
        model.output_stride,
        class_names,
        model.decoder is not None,
    )


def facts_of(
    model: Classifier | Segmenter, class_names: tuple[str, ...], predict: PredictSettings | None
) -> NetworkFacts:
    """What prediction must know of `model`; `predict` is how it is to be used.

    >>> from smaf.models import build_segmenter
    >>> network = build_segmenter("test_efficientnet", num_classes=3)
    >>> facts_of(network, ("cat", "dog"), None).segments
    True
    """
    return NetworkFacts(
        class_names,
        tuple(model.mean),
        tuple(model.std),
        segments=isinstance(model, Segmenter),
        bgr=isinstance(model, Segmenter) and model.bgr,
        settings=predict,
    )
