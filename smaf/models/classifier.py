"""The classifier whose CAMs the method is about: a backbone and one of three heads behind one
face."""

from __future__ import annotations

from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from smaf.models.resnet38 import ResNet38, run_resnet38
from smaf.models.timm_backbone import TimmBackbone
from smaf.models.trainable import Trainable

Head = Literal["smaf", "eps", "cls"]
HEADS: tuple[str, ...] = get_args(Head)
FEATURES = 128  # channels of SMAF's features
RESNET38 = "resnet38"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HEAD_MODULES = ("cov_feat", "bn", "fc8")


class Classifier(Trainable):
    """Image classifier with class activation maps; see :func:`smaf.models.build_classifier`.

    Heads: `"eps"`, one 1×1 convolution to C + 1 channels, the last one background (EPS, CVPR 2021);
    `"smaf"`, a 1×1 convolution to 128 features, BN and ReLU before it (SMAF's release); `"cls"`,
    EPS's with C channels, the plain-CAM baseline (Zhou et al., CVPR 2016).
    """

    backbone_name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    output_stride: int
    head_modules = HEAD_MODULES

    def __init__(
        self, layers: dict[str, nn.Module], channels: int, *, num_classes: int, head: str
    ) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.num_classes = num_classes
        self.head = head
        outputs = num_classes if head == "cls" else num_classes + 1
        if head == "smaf":
            self.cov_feat = nn.Conv2d(channels, FEATURES, 1, bias=False)
            self.bn = nn.BatchNorm2d(FEATURES)
            nn.init.xavier_uniform_(self.cov_feat.weight)
        self.fc8 = nn.Conv2d(FEATURES if head == "smaf" else channels, outputs, 1, bias=False)
        nn.init.xavier_uniform_(self.fc8.weight)

    def extract(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalised → the backbone's (N, D', h, w)."""
        raise NotImplementedError

    @property
    def described(self) -> str:
        """Backbone, head and class count, in words for an error."""
        return (
            f"the backbone {self.backbone_name} with head {self.head} and "
            f"{self.num_classes} classes"
        )

    @property
    def feature_channels(self) -> int:
        """D: channels of the features that `forward` returns."""
        return self.fc8.in_channels

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, 3, H, W) images, normalised with `mean` and `std` → scores (N, C+1), CAM (N, C+1, h,
        w), features.

        Scores are the global average of the CAM's logits. Features (N, D, h, w) are what `fc8`
        sees: SMAF's 128, or the backbone's. With head `"cls"` C channels stand for C+1.
        """
        features = self.extract(images)
        if self.head == "smaf":
            features = F.relu(self.bn(self.cov_feat(features)))
        cam = self.fc8(features)
        return cam.mean(dim=(2, 3)), cam, features

    def forward_cam(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images → CAM logits (N, C+1, h, w)."""
        return self.forward(images)[1]


class ResNet38Classifier(Classifier):
    """ResNet-38 with a head; its layers lie flat beside the head, so the state dict has the
    published keys."""

    frozen = ResNet38.frozen

    def __init__(self, *, num_classes: int, head: str) -> None:
        backbone = ResNet38()
        super().__init__(
            dict(backbone.named_children()), ResNet38.channels, num_classes=num_classes, head=head
        )
        self.blocks = backbone.blocks
        self.backbone_name, self.output_stride = RESNET38, ResNet38.output_stride
        self.mean, self.std = IMAGENET_MEAN, IMAGENET_STD

    def extract(self, images: Tensor) -> Tensor:
        """See :meth:`Classifier.extract`."""
        return run_resnet38(self, self.blocks, images)


class TimmClassifier(Classifier):
    """A timm backbone (`backbone.body.…`) with a head."""

    def __init__(self, backbone: TimmBackbone, name: str, *, num_classes: int, head: str) -> None:
        super().__init__(
            {"backbone": backbone}, backbone.channels, num_classes=num_classes, head=head
        )
        self.backbone_name, self.output_stride = name, backbone.output_stride
        self.mean, self.std = backbone.mean, backbone.std

    def extract(self, images: Tensor) -> Tensor:
        """See :meth:`Classifier.extract`."""
        features: Tensor = self.get_submodule("backbone")(images)
        return features
