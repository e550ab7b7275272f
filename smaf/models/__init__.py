"""Networks, their heads, and readers of every weight format."""

from smaf.core.predict_settings import PredictSettings
from smaf.models.build import IMAGENET, build_classifier, load_weights
from smaf.models.classifier import HEADS, RESNET38, Classifier
from smaf.models.timm_backbone import LIGHT
from smaf.models.weights import (
    ClassifierInfo,
    read_info,
    read_predict_settings,
    read_weights,
    save_classifier,
    widen_eps_head,
)

__all__ = ["HEADS", "IMAGENET", "LIGHT", "RESNET38", "Classifier", "ClassifierInfo", "PredictSettings",
           "build_classifier", "load_weights", "read_info", "read_predict_settings", "read_weights", "save_classifier",
           "widen_eps_head"]
