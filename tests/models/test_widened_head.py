"""EPS's head turned into SMAF's: other layers, the same CAMs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from smaf.core.errors import InputError
from smaf.models import build_classifier, load_checkpoint, widen_eps_head, write_checkpoint


def test_widened_head_by_hand() -> None:
    """Two channels over three inputs: features are the channel's positive and negative part, their
    difference it."""
    fc8 = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])[:, :, None, None]
    wide = widen_eps_head({"fc8.weight": fc8, "bn7.bias": torch.ones(3)})
    pixel = torch.tensor([2.0, 1.0, 4.0])
    scale = wide["bn.weight"] / (wide["bn.running_var"] + 1e-5).sqrt()
    features = (wide["cov_feat.weight"][:, :, 0, 0] @ pixel * scale).relu()
    np.testing.assert_allclose(
        features[:4], [2.0, 0.0, 0.0, 1.0], atol=1e-6
    )  # the channels are 2 and -1
    np.testing.assert_allclose(wide["fc8.weight"][:, :, 0, 0] @ features, [2.0, -1.0], atol=1e-6)
    assert float(features[4:].abs().sum()) > 0 and not wide["fc8.weight"][:, 4:].any()
    assert torch.equal(wide["bn7.bias"], torch.ones(3))
    with pytest.raises(InputError, match="65 channels does not fit"):
        widen_eps_head({"fc8.weight": torch.zeros(65, 3, 1, 1)})


@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "resnet18"])
def test_widened_head_gives_the_same_cams(backbone: str, tmp_path: Path) -> None:
    torch.manual_seed(4)
    eps = build_classifier(backbone, num_classes=20, head="eps")
    write_checkpoint(tmp_path / "eps.pth", eps, ())
    smaf = build_classifier(backbone, num_classes=20, head="smaf")
    load_checkpoint(smaf, tmp_path / "eps.pth", adapt_head=True)
    images = torch.randn(2, 3, 65, 49, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        a, b = eps.forward_cam(images), smaf.forward_cam(images)
    assert float(a.abs().max()) > 1e-3
    torch.testing.assert_close(b, a, atol=1e-4, rtol=1e-4)
