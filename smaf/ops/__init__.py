"""The method's mathematics on tensors and arrays: views and fusion, targets, losses, prototypes, CRF, metrics."""

from smaf.ops.crf import crf_available, crf_cams, crf_labels, crf_softmax, require_crf
from smaf.ops.fusion import (
    MAX_VIEW_PIXELS,
    SCALES,
    cams_to_mask,
    class_maps,
    fuse_cams,
    mean_maps,
    normalise_maps,
    peak_scores,
)
from smaf.ops.losses import classification_loss, eps_loss, saliency_estimate, self_training_loss
from smaf.ops.metrics import ConfusionMatrix, SizeStrata
from smaf.ops.prototypes import class_prototypes, move_prototypes, prototype_weights
from smaf.ops.reactivation import reactivation_target

__all__ = ["MAX_VIEW_PIXELS", "SCALES", "ConfusionMatrix", "SizeStrata", "cams_to_mask", "class_maps", "class_prototypes",
           "classification_loss", "crf_available", "crf_cams", "crf_labels", "crf_softmax", "eps_loss", "fuse_cams",
           "mean_maps", "move_prototypes", "normalise_maps", "peak_scores", "prototype_weights", "reactivation_target",
           "require_crf", "saliency_estimate", "self_training_loss"]
