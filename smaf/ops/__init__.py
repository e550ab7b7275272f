"""This room holds the method's mathematics on tensors and arrays.

It has views and fusion, targets, losses, prototypes, CRF and metrics.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smaf.ops.attention import attention_affinity, refine_by_affinity, strong_boxes
    from smaf.ops.crf import (
        Bilateral,
        DenseCrf,
        Gaussian,
        crf_cams,
        crf_labels,
        crf_softmax,
        dense_crf,
    )
    from smaf.ops.fusion import class_maps, fuse_cams, torch_mean_maps
    from smaf.ops.losses import (
        classification_loss,
        eps_loss,
        saliency_estimate,
        segmentation_loss,
        self_training_loss,
    )
    from smaf.ops.metrics import ConfusionMatrix, SizeStrata
    from smaf.ops.par import par_maps
    from smaf.ops.proposals import vote_proposals
    from smaf.ops.prototypes import class_prototypes, move_prototypes, prototype_weights
    from smaf.ops.reactivation import reactivation_target
    from smaf.ops.refine import (
        bounded_photo,
        certain_mask,
        mask_of_maps,
        refine_cams,
        refine_mask,
        refined_mask,
        sharpen_cams,
        weigh_cams,
    )
    from smaf.ops.views import (
        SizedMaps,
        cams_to_mask,
        mean_maps,
        mean_of,
        normalise_maps,
        peak_scores,
        view_logits,
    )

# Where each name lives: modules are loaded when they are asked for, since half of them do without
# PyTorch's start-up
_PLACES = {
    "attention": "attention_affinity refine_by_affinity strong_boxes",
    "crf": "Bilateral DenseCrf Gaussian crf_cams crf_labels crf_softmax dense_crf",
    "fusion": "class_maps fuse_cams torch_mean_maps",
    "losses": "classification_loss eps_loss saliency_estimate segmentation_loss self_training_loss",
    "metrics": "ConfusionMatrix SizeStrata",
    "par": "par_maps",
    "proposals": "vote_proposals",
    "prototypes": "class_prototypes move_prototypes prototype_weights",
    "reactivation": "reactivation_target",
    "refine": "bounded_photo certain_mask mask_of_maps refine_cams refine_mask refined_mask "
    "sharpen_cams weigh_cams",
    "views": "SizedMaps cams_to_mask mean_maps mean_of normalise_maps peak_scores view_logits",
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names.split()}

__all__ = [
    "Bilateral",
    "ConfusionMatrix",
    "DenseCrf",
    "Gaussian",
    "SizeStrata",
    "SizedMaps",
    "attention_affinity",
    "bounded_photo",
    "cams_to_mask",
    "certain_mask",
    "class_maps",
    "class_prototypes",
    "classification_loss",
    "crf_cams",
    "crf_labels",
    "crf_softmax",
    "dense_crf",
    "eps_loss",
    "fuse_cams",
    "mask_of_maps",
    "mean_maps",
    "mean_of",
    "move_prototypes",
    "normalise_maps",
    "par_maps",
    "peak_scores",
    "prototype_weights",
    "reactivation_target",
    "refine_by_affinity",
    "refine_cams",
    "refine_mask",
    "refined_mask",
    "saliency_estimate",
    "segmentation_loss",
    "self_training_loss",
    "sharpen_cams",
    "strong_boxes",
    "torch_mean_maps",
    "view_logits",
    "vote_proposals",
    "weigh_cams",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(importlib.import_module(f"smaf.ops.{_MODULES[name]}"), name)
