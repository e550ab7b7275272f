"""The attention of a transformer's last layers, read off timm's modules."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from smaf.core.errors import InputError
from smaf.models import (
    Classifier,
    attention_layers,
    attention_of,
    build_classifier,
    build_segmenter,
)

VIT = "test_vit"  # 6 blocks of 2 heads; a class token before the patches


@pytest.fixture
def model() -> Classifier:
    torch.manual_seed(0)
    return build_classifier(VIT, num_classes=2, head="eps")


def by_hand(model: Classifier, images: Tensor) -> list[Tensor]:
    """softmax(q·k/√d) of each block, from its input."""
    found = []

    def note(module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        n, t, _ = inputs[0].shape
        q, k, _ = module.qkv(inputs[0]).reshape(n, t, 3, module.num_heads, -1).unbind(2)
        scores = torch.einsum("nqhd,nkhd->nhqk", q, k) / q.shape[-1] ** 0.5
        found.append(scores.softmax(dim=-1).mean(dim=1))

    blocks = [block.attn for block in model.backbone.body.blocks]
    hooks = [block.register_forward_pre_hook(note) for block in blocks]
    model.forward_cam(images)
    for hook in hooks:
        hook.remove()
    return found


@torch.inference_mode()
def test_mean_of_the_last_layers(model: Classifier) -> None:
    images = torch.randn(2, 3, 48, 65)
    layers, plain = attention_layers(model), model.forward_cam(images)
    assert [id(layer) for layer in layers] == [id(b.attn) for b in model.backbone.body.blocks]
    expected = by_hand(model, images)
    with attention_of(layers) as attention:
        assert not any(layer.fused_attn for layer in layers)
        cam = model.forward_cam(images)
        tokens = attention()
    torch.testing.assert_close(tokens, torch.stack(expected).mean(dim=0), atol=1e-5, rtol=1e-4)
    assert tokens.shape == (2, 1 + 3 * 5, 1 + 3 * 5)
    torch.testing.assert_close(tokens.sum(dim=2), torch.ones(2, 16))
    torch.testing.assert_close(cam, plain, atol=1e-4, rtol=1e-4)  # fused or not
    # of more than eight layers the last eight count
    twice = [torch.nn.Module() for _ in range(5)] + layers
    with attention_of(twice[-2:]) as attention:
        model.forward_cam(images)
        last = attention()
    torch.testing.assert_close(last, (expected[4] + expected[5]) / 2, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_fused_attention_is_as_it_was(model: Classifier) -> None:
    layers = attention_layers(model)
    layers[1].fused_attn = False
    before = [layer.fused_attn for layer in layers]
    assert before == [True, False, True, True, True, True] and not model.training
    with pytest.raises(ZeroDivisionError), attention_of(layers):
        raise ZeroDivisionError
    assert [layer.fused_attn for layer in layers] == before
    assert not any(layer.attn_drop._forward_pre_hooks for layer in layers)


def test_threads_read_their_own_passes(model: Classifier) -> None:
    layers = attention_layers(model)
    images = [torch.randn(1, 3, 32, 32 + 16 * i) for i in range(4)]

    @torch.inference_mode()
    def tokens(image: Tensor) -> Tensor:
        model.forward_cam(image)
        return attention()

    with attention_of(layers) as attention:
        alone = [tokens(image) for image in images]
        with ThreadPoolExecutor(2) as pool:
            together = list(pool.map(tokens, images))
    for a, b in zip(alone, together, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", ["test_efficientnet", "swin_tiny_patch4_window7_224"])
def test_networks_without_attention_over_the_image_are_refused(name: str) -> None:
    model = build_classifier(name, num_classes=2, head="eps")
    message = f"--attention_refine: {name} has no attention over the whole image: train a vision"
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        attention_layers(model)
    assert "\n" not in str(caught.value)


def test_segmentation_networks_have_it_too() -> None:
    assert len(attention_layers(build_segmenter(VIT, num_classes=3))) == 6
