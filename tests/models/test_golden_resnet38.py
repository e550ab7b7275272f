"""ResNet-38 against the activations, CAMs and scores of the public releases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from smaf.core.errors import InputError
from smaf.models import Classifier, load_checkpoint, widen_eps_head

TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


def compare(ours: Tensor, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours.numpy(), theirs, **TOLERANCE)


def test_names_and_shapes_are_the_published_ones(
    smaf38: Classifier, golden_keys: dict[str, tuple[int, ...]]
) -> None:
    own = {key: tuple(tensor.shape) for key, tensor in smaf38.state_dict().items()}
    assert own == golden_keys
    assert round(sum(p.numel() for p in smaf38.parameters()) / 1e5) == 1056  # 105.6 million


def test_smaf_head_agrees_with_the_release(
    smaf38: Classifier, golden: Callable[[str], Path]
) -> None:
    stored = np.load(golden("resnet38_smaf_head.npz"))
    taken: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            taken[name] = output.relu()

        return hook

    places = {"conv4": "b5.bn_branch2a", "conv5": "b6.bn_branch2a", "conv6": "bn7"}
    hooks = [
        smaf38.get_submodule(place).register_forward_hook(keep(name))
        for name, place in places.items()
    ]
    try:
        with torch.inference_mode():
            scores, cam, features = smaf38(torch.from_numpy(stored["x"]))
    finally:
        for hook in hooks:
            hook.remove()
    compare(taken["conv4"][:, ::16], stored["conv4"])
    compare(taken["conv5"][:, ::64], stored["conv5"])
    compare(taken["conv6"][:, ::128], stored["conv6"])
    compare(features[:, ::8], stored["feat"])
    compare(cam, stored["cam"])
    compare(scores, stored["pred"])


def test_eps_head_agrees_with_the_release_and_so_does_its_widened_form(
    eps38: Classifier, golden_resnet38: Callable[[str], Classifier], golden: Callable[[str], Path]
) -> None:
    stored = np.load(golden("resnet38_eps_head.npz"))
    with torch.inference_mode():
        scores, cam, features = eps38(torch.from_numpy(stored["x"]))
        compare(cam, stored["cam"])
        compare(scores, stored["pred"])
        assert features.shape[1] == eps38.feature_channels == 4096
        # SMAF's head made of EPS's: only the head's three layers are new, the backbone's output is
        # the same
        wide = golden_resnet38("smaf")
        heads = {
            k: v
            for k, v in widen_eps_head(eps38.state_dict()).items()
            if k.split(".")[0] in {"cov_feat", "bn", "fc8"}
        }
        wide.load_state_dict(heads, strict=False, assign=True)
        again = wide.fc8(wide.bn(wide.cov_feat(features)).relu())
    compare(again, stored["cam"])


def test_published_eps_checkpoint_starts_the_smaf_head(
    golden_resnet38: Callable[[str], Classifier], eps38: Classifier, tmp_path: Path
) -> None:
    path = tmp_path / "eps.pth"
    torch.save({f"module.{key}": value for key, value in eps38.state_dict().items()}, path)
    model = golden_resnet38("smaf")
    with pytest.raises(InputError, match="head eps, the model has smaf"):
        load_checkpoint(model, path)
    # memory is shared with the other networks: give the head its own before it is overwritten
    for layer in (model.cov_feat, model.bn, model.fc8):
        for name, value in list(layer.named_parameters()):
            setattr(layer, name, nn.Parameter(value.detach().clone()))
        for name, value in list(layer.named_buffers()):
            layer.register_buffer(name, value.clone())
    load_checkpoint(model, path, adapt_head=True)
    path.unlink()  # 420 MB
    images = torch.randn(1, 3, 24, 17, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        torch.testing.assert_close(
            model.forward_cam(images), eps38.forward_cam(images), atol=1e-4, rtol=1e-4
        )
