"""Transformers of any patch and image size, and networks of which one level is taken."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import timm
import torch
from small_set import needs_export

from smaf.core.errors import InputError
from smaf.models import (
    build_classifier,
    build_network,
    build_segmenter,
    load_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from smaf.models.export import export_onnx, export_program
from smaf.models.timm_backbone import TimmBackbone

# name, output stride, channels there
LEVELS = [
    ("swin_tiny_patch4_window7_224", 16, 384),
    ("swin_tiny_patch4_window7_224", 8, 192),
    ("densenet121", 16, 1024),
    ("vgg11_bn", 16, 512),
    ("hrnet_w18_small", 8, 256),
    ("mobilenetv3_small_050", 16, 288),
    ("regnety_002", 16, 368),
]


@pytest.mark.parametrize(("name", "stride", "channels"), LEVELS)
def test_level_of_the_stride_is_taken_and_learns(name: str, stride: int, channels: int) -> None:
    torch.manual_seed(0)
    model = build_classifier(name, num_classes=2, head="eps", output_stride=stride)
    assert (model.output_stride, model.feature_channels) == (stride, channels)
    with torch.inference_mode():
        for h, w in ((65, 97), (1, 1)):
            assert model.forward_cam(torch.randn(1, 3, h, w)).shape == (
                1,
                3,
                -(-h // stride),
                -(-w // stride),
            )
    model.set_trainable().train()
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    model(torch.randn(2, 3, 64, 64)).cam.square().mean().backward()
    own = dict(model.named_parameters())
    silent = [n for n, p in own.items() if p.requires_grad and p.grad is None]
    assert not silent  # nothing is kept that the features do not need
    first = next(n for n, p in own.items() if p.requires_grad)
    before = own[first].detach().clone()
    optimiser.step()
    assert not torch.equal(own[first], before)


# A tiny transformer of timm's form with DINOv2's patches; weights and registers as there
TINY14 = "smaf_tiny_patch14"


@pytest.fixture(scope="module", autouse=True)
def tiny14() -> None:
    def smaf_tiny_patch14(pretrained: bool = False, **options: object) -> torch.nn.Module:
        about = {"img_size": 70, "patch_size": 14, "depth": 3, "reg_tokens": 2}
        given = {key: value for key, value in options.items() if value is not None}
        return timm.create_model("test_vit", no_embed_class=True, **about, **given)

    timm.models.register_model(smaf_tiny_patch14)


def test_a_transformers_stride_is_its_patch() -> None:
    for name, stride in ((TINY14, 14), ("test_vit", 16), ("vit_small_patch8_224", 8)):
        backbone = TimmBackbone(name)
        assert (backbone.output_stride, backbone.shift, backbone.partial) == (stride, 0.0, False)
        with torch.inference_mode():
            features = backbone.eval()(torch.randn(1, 3, 65, 97))
        assert features.shape[2:] == (-(-65 // stride), -(-97 // stride))
    network = build_segmenter(TINY14, num_classes=3)
    assert network.output_stride == 14
    assert network(torch.zeros(1, 3, 65, 97)).shape == (1, 3, 5, 7)
    assert [c.dilation[0] for c in network.aspp.children()] == [3, 6, 10, 13]  # 3 to 12 at 16


@pytest.mark.parametrize("name", [TINY14, "test_vit"])
def test_padding_moves_no_cell(name: str) -> None:
    """An image is padded with zeros on the right and below to whole patches, its cells stay."""
    torch.manual_seed(0)
    backbone = TimmBackbone(name).eval()
    s = backbone.output_stride
    whole = torch.zeros(1, 3, 4 * s, 5 * s)
    whole[:, :, : 3 * s + 3, : 4 * s + 1] = torch.randn(1, 3, 3 * s + 3, 4 * s + 1)
    with torch.inference_mode():
        padded = backbone(whole[:, :, : 3 * s + 3, : 4 * s + 1])
        torch.testing.assert_close(padded, backbone(whole))
        # and each cell is its own patch's: without blocks it sees nothing else
        backbone.body.blocks = torch.nn.Identity()
        changed = whole.clone()
        changed[:, :, 2 * s : 3 * s, s : 2 * s] += 1.0
        moved = (backbone(changed) - backbone(whole)).abs().sum(dim=1)[0] > 1e-4
    assert moved.nonzero().tolist() == [[2, 1]]


def test_positions_are_resampled_by_timm() -> None:
    """Positions that rise from row to row do so in a finer grid, too."""
    backbone = TimmBackbone(TINY14).eval()
    body = backbone.body
    rows = torch.arange(5.0).repeat_interleave(5)
    with torch.no_grad():
        body.patch_embed.proj.weight.zero_()
        body.patch_embed.proj.bias.zero_()
        body.pos_embed.copy_(rows[None, :, None] * torch.randn(64))
        body.blocks, body.norm = torch.nn.Identity(), torch.nn.Identity()
        features = backbone(torch.zeros(1, 3, 140, 70))[0, :, :, 2]
    share = features[0] / features[0, -1]
    assert features.shape == (64, 10)
    torch.testing.assert_close(
        share[2:8].diff(), share[2:8].diff().mean().expand(5), atol=0.03, rtol=0
    )


@pytest.mark.parametrize(
    ("name", "stride", "message"),
    [
        (TINY14, 16, "run at output stride 16: it gives features at stride 14; take"),
        ("test_vit", 8, "run at output stride 8: it gives features at stride 16; take another --o"),
        ("test_vit", 12, "output stride 12: expected 8, 14 or 16"),
        (
            "mixer_s32_224",
            None,
            "backbone mixer_s32_224 cannot run at output stride 16: it gives f",
        ),
    ],
)
def test_what_fits_nowhere_is_one_line(name: str, stride: int | None, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        build_classifier(name, num_classes=2, output_stride=stride)
    assert "\n" not in str(caught.value)


def test_checkpoint_keeps_stride_and_numbers(tmp_path: Path) -> None:
    for model in (
        build_classifier(TINY14, num_classes=2, head="eps"),
        build_classifier("densenet121", num_classes=2, head="eps"),
    ):
        write_checkpoint(tmp_path / "net.pth", model, ("cat", "dog"))
        again = build_network(read_checkpoint(tmp_path / "net.pth"))
        assert again.output_stride == model.output_stride
        images = torch.randn(1, 3, 50, 60)
        with torch.inference_mode():
            torch.testing.assert_close(again.forward_cam(images), model.forward_cam(images))


def test_weights_of_whole_networks_fit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """timm's DenseNet into a level's, under timm's joined names; nothing is called strange."""
    theirs = timm.create_model("densenet121")
    torch.save(theirs.state_dict(), tmp_path / "densenet121.pth")
    model = build_classifier("densenet121", num_classes=2)
    load_checkpoint(model, tmp_path / "densenet121.pth")
    own = model.backbone.body.state_dict()
    for key in ("conv0.weight", "denseblock3.denselayer24.conv2.weight"):
        assert torch.equal(own[f"features_{key}"], theirs.state_dict()[f"features.{key}"])
    assert not any("denseblock4" in key for key in own) and not caplog.records


def test_dinov2s_own_weights_fit(tmp_path: Path) -> None:
    """Its release has positions for the class token, register_tokens and a mask_token."""
    theirs = dict(TimmBackbone(TINY14).body.state_dict())
    theirs["pos_embed"] = torch.randn(1, 1 + 4 * 4, 64)  # of another image size
    theirs["register_tokens"] = theirs.pop("reg_token") + 1.0
    theirs["mask_token"] = torch.zeros(1, 64)
    torch.save(theirs, tmp_path / "dinov2.pth")
    for model in (
        build_classifier(TINY14, num_classes=2, pretrained=tmp_path / "dinov2.pth"),
        build_segmenter(TINY14, num_classes=3, pretrained=tmp_path / "dinov2.pth"),
    ):
        own = model.backbone.body.state_dict()
        assert torch.equal(own["reg_token"], theirs["register_tokens"])
        expected = theirs["cls_token"] + theirs["pos_embed"][:, :1]
        torch.testing.assert_close(own["cls_token"], expected)
        assert own["pos_embed"].shape == (1, 25, 64)
        # bicubic, 4×4 to 5×5: the corners' means are close
        torch.testing.assert_close(
            own["pos_embed"].mean(dim=1), theirs["pos_embed"][:, 1:].mean(dim=1), atol=0.3, rtol=0
        )


@pytest.mark.slow
@needs_export
def test_exported_transformer_takes_any_size(tmp_path: Path) -> None:
    """ONNX: the same numbers for sizes that are no whole patches."""
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    model = build_classifier(TINY14, num_classes=2, head="eps")
    export_onnx(tmp_path / "net.onnx", model, ("cat", "dog"))
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    for shape in ((1, 3, 70, 70), (2, 3, 65, 97), (1, 3, 33, 200)):
        images = torch.randn(shape)
        (cam,) = session.run(None, {"images": images.numpy()})
        with torch.inference_mode():
            expected = model.forward_cam(images)
        torch.testing.assert_close(torch.from_numpy(cam), expected, atol=1e-4, rtol=1e-3)


@pytest.mark.slow
@needs_export
def test_a_program_of_a_transformer_is_refused(tmp_path: Path) -> None:
    """It would hold guards, which are code."""
    model = build_classifier("test_vit", num_classes=2, head="eps")
    with pytest.raises(InputError, match="write it as ONNX, or take another backbone"):
        export_program(tmp_path / "net.pt2", model, ("cat", "dog"))
    assert not (tmp_path / "net.pt2").exists()
