"""The classifier whose CAMs the method is about: a backbone with one of three heads."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
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


class ClassifierOutput(NamedTuple):
    """What a classifier computes for N images of H×W pixels, at its output stride s (h ≈ H/s).

    Attributes:
        scores: (N, C+1) logits of the image, the global average of `cam`; background is last.
        cam: (N, C+1, h, w) logits of the class activation maps, background last.
        features: (N, D, h, w), what `fc8` sees: SMAF's 128 features, or the backbone's.

    With head `"cls"` there is no background: C channels for C+1.
    """

    scores: Tensor
    cam: Tensor
    features: Tensor


class Classifier(Trainable):
    """Image classifier with class activation maps; made by :func:`smaf.models.build_classifier`.

    Heads: `"eps"`, one 1×1 convolution to C + 1 channels, the last one background (EPS, CVPR 2021);
    `"smaf"`, a 1×1 convolution to 128 features, BN and ReLU before it (SMAF's release); `"cls"`,
    EPS's with C channels, the plain-CAM baseline (Zhou et al., CVPR 2016).

    Attributes:
        backbone_name, head, num_classes, output_stride: as :func:`build_classifier` was given them.
        mean, std: of RGB in 0..1, what images are normalised with.
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
        """(N, 3, H, W) normalised images → the backbone's (N, D', h, w) features."""
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

    def forward(self, images: Tensor) -> ClassifierOutput:
        """(N, 3, H, W) RGB images, normalised with `mean` and `std` → scores, CAM and features.

        >>> import torch
        >>> from smaf.models import build_classifier
        >>> output = build_classifier("test_efficientnet", num_classes=3)(torch.zeros(1, 3, 64, 96))
        >>> [tuple(part.shape) for part in (output.scores, output.cam, output.features)]
        [(1, 4), (1, 4, 4, 6), (1, 128, 4, 6)]
        """
        features = self.extract(images)
        if self.head == "smaf":
            features = F.relu(self.bn(self.cov_feat(features)))
        cam = self.fc8(features)
        return ClassifierOutput(cam.mean(dim=(2, 3)), cam, features)

    def forward_cam(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images → CAM logits (N, C+1, h, w)."""
        return self.forward(images).cam


class ResNet38Classifier(Classifier):
    """ResNet-38 with a head, layers of both side by side: the state dict has the published keys."""

    frozen = ResNet38.frozen

    def __init__(self, *, num_classes: int, head: str) -> None:
        backbone = ResNet38()
        super().__init__(
            dict(backbone.named_children()), ResNet38.channels, num_classes=num_classes, head=head
        )
        self.blocks = backbone.blocks
        self.backbone_name, self.output_stride = RESNET38, ResNet38.output_stride
        self.mean, self.std = IMAGENET_MEAN, IMAGENET_STD

    def training_format(self, device: torch.device) -> torch.memory_format:
        """On the CPU one channel after the other: backward passes take 5 to 12 % less time so."""
        return torch.contiguous_format if device.type == "cpu" else torch.channels_last

    def extract(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images → (N, 4096, ⌈H/8⌉, ⌈W/8⌉) features."""
        return run_resnet38(self, self.blocks, images)


class TimmClassifier(Classifier):
    """A timm backbone (`backbone.body.…`) with a head."""

    def __init__(self, backbone: TimmBackbone, name: str, *, num_classes: int, head: str) -> None:
        super().__init__(
            {"backbone": backbone}, backbone.channels, num_classes=num_classes, head=head
        )
        self.backbone_name, self.output_stride = name, backbone.output_stride
        self.mean, self.std = backbone.mean, backbone.std
        self.frozen = tuple(f"backbone.{layer}" for layer in backbone.unused)

    def extract(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images → the timm backbone's (N, D', h, w) features."""
        features: Tensor = self.get_submodule("backbone")(images)
        return features
