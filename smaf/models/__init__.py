"""Networks, their heads, and checkpoints: one reader, one writer, one loader."""

from smaf.core.network_facts import ClassifierInfo, SegmenterInfo
from smaf.core.predict_settings import PredictSettings
from smaf.models.attention import attention_layers, attention_of
from smaf.models.build import IMAGENET, build_classifier, build_network, build_segmenter
from smaf.models.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from smaf.models.classifier import HEADS, RESNET38, Classifier, ClassifierOutput
from smaf.models.deeplab import NAME as DEEPLAB
from smaf.models.efficientnet_lite import LIGHT
from smaf.models.facts import facts_of
from smaf.models.folding import for_inference
from smaf.models.loading import load_checkpoint
from smaf.models.published import widen_eps_head
from smaf.models.segmenter import Segmenter
from smaf.models.trainable import Trainable

__all__ = [
    "DEEPLAB",
    "HEADS",
    "IMAGENET",
    "LIGHT",
    "RESNET38",
    "Checkpoint",
    "Classifier",
    "ClassifierInfo",
    "ClassifierOutput",
    "PredictSettings",
    "Segmenter",
    "SegmenterInfo",
    "Trainable",
    "attention_layers",
    "attention_of",
    "build_classifier",
    "build_network",
    "build_segmenter",
    "facts_of",
    "for_inference",
    "load_checkpoint",
    "read_checkpoint",
    "widen_eps_head",
    "write_checkpoint",
]
