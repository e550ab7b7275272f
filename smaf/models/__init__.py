"""Networks, their heads, and readers of every weight format."""

from smaf.core.network_facts import ClassifierInfo, SegmenterInfo
from smaf.core.predict_settings import PredictSettings
from smaf.models.build import IMAGENET, build_classifier, fill_classifier, load_weights
from smaf.models.build_segmenter import build_segmenter, fill_segmenter, load_segmenter
from smaf.models.classifier import HEADS, RESNET38, Classifier
from smaf.models.deeplab import NAME as DEEPLAB
from smaf.models.segmenter import Segmenter
from smaf.models.timm_backbone import LIGHT
from smaf.models.trainable import Trainable
from smaf.models.weights import (
    WeightsFile,
    open_weights,
    read_info,
    read_predict_settings,
    read_segmenter_info,
    read_weights,
    save_classifier,
    save_segmenter,
    widen_eps_head,
)

__all__ = [
    "DEEPLAB",
    "HEADS",
    "IMAGENET",
    "LIGHT",
    "RESNET38",
    "Classifier",
    "ClassifierInfo",
    "PredictSettings",
    "Segmenter",
    "SegmenterInfo",
    "Trainable",
    "WeightsFile",
    "build_classifier",
    "build_segmenter",
    "fill_classifier",
    "fill_segmenter",
    "load_segmenter",
    "load_weights",
    "open_weights",
    "read_info",
    "read_predict_settings",
    "read_segmenter_info",
    "read_weights",
    "save_classifier",
    "save_segmenter",
    "widen_eps_head",
]
