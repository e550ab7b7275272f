"""Networks as they are commonly written: no folded BatchNorm, one layer after the other.

They share their tensors with this project's networks, so that both give the same maps.
"""

from __future__ import annotations

import copy
from typing import Any

import timm
import torch.nn.functional as F
from torch import Tensor, nn

from smaf.models import Trainable
from smaf.models.classifier import ClassifierOutput, ResNet38Classifier
from smaf.models.efficientnet_lite import LIGHT


def plain(model: Trainable) -> Trainable | PlainResNet38:
    """The network written plainly: ResNet-38 below, EfficientNet-Lite0 as timm has it."""
    if isinstance(model, ResNet38Classifier):
        return PlainResNet38(model)
    changed = copy.deepcopy(model)
    backbone: Any = changed.get_submodule("backbone")
    body = timm.create_model(
        LIGHT, num_classes=0, global_pool="", output_stride=backbone.output_stride
    )
    body.load_state_dict(backbone.body.state_dict())
    backbone.body = body
    return changed.set_trainable().train(model.training)


class PlainResNet38(nn.Module):
    """ResNet-38 with SMAF's head: ReLU makes new maps, shortcuts are added to new maps."""

    def __init__(self, model: ResNet38Classifier) -> None:
        super().__init__()
        self.model = model
        self.blocks, self.mean, self.std = model.blocks, model.mean, model.std

    def forward(self, images: Tensor) -> ClassifierOutput:
        """(N, 3, H, W) normalised images → scores, CAM and features."""
        layers: Any = self.model
        x = layers.conv1a(images)
        for name in self.blocks:
            block = layers.get_submodule(name)
            x = _bottleneck(block, x) if name in {"b6", "b7"} else _residual(block, x)
        x = F.relu(layers.bn7(x))
        features = F.relu(layers.bn(layers.cov_feat(x)))
        cam = layers.fc8(features)
        return ClassifierOutput(F.adaptive_avg_pool2d(cam, 1)[:, :, 0, 0], cam, features)


def _residual(block: Any, x: Tensor) -> Tensor:
    y = F.relu(block.bn_branch2a(x))
    shortcut = x if block.conv_branch1 is None else block.conv_branch1(y)
    y = block.conv_branch2a(y)
    y = F.relu(block.bn_branch2b1(y))
    y = block.conv_branch2b1(y)
    return shortcut + y


def _bottleneck(block: Any, x: Tensor) -> Tensor:
    y = F.relu(block.bn_branch2a(x))
    shortcut = block.conv_branch1(y)
    y = block.conv_branch2a(y)
    y = block.dropout_2b1(F.relu(block.bn_branch2b1(y)))
    y = block.conv_branch2b1(y)
    y = block.dropout_2b2(F.relu(block.bn_branch2b2(y)))
    y = block.conv_branch2b2(y)
    return shortcut + y
