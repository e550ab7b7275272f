"""Views, their fusion and the mask of the fused maps, with a network that can be worked out by
hand."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from smaf.core.views import MAX_VIEW_PIXELS, ONE_VIEW, Views
from smaf.ops import cams_to_mask, class_maps, fuse_cams
from smaf.ops.views import ViewLogits, resize_view, working_size


class TinyNetwork(nn.Module):
    """Two classes and background: a 3×3 convolution with stride 4. Keeps the sizes of its views."""

    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

    def __init__(self, outputs: int = 3, num_classes: int = 2) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, outputs, 3, stride=4, padding=1)
        self.num_classes = num_classes
        self.views: list[tuple[int, ...]] = []

    def forward_cam(self, images: Tensor) -> Tensor:
        assert not self.training
        self.views.append(tuple(images.shape))
        return self.layer(images)


class Stub(TinyNetwork):
    """Keeps only the sizes of views: channel 0 is red, the others are 0."""

    def forward_cam(self, images: Tensor) -> Tensor:
        self.views.append(tuple(images.shape))
        red = nn.functional.adaptive_avg_pool2d(images[:, :1], 4)
        return torch.cat([red, torch.zeros(len(images), 2, 4, 4)], dim=1)


def photo(w: int, h: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (h, w, 3)).astype(np.uint8))


def test_one_view_by_hand() -> None:
    """A red and a black half, a network that reads off red: softmax of (r, 0, 0), over its largest
    value."""

    class Red(TinyNetwork):
        def forward_cam(self, images: Tensor) -> Tensor:
            return torch.cat([images[:, :1], torch.zeros_like(images[:, :2])], dim=1)

    pixels = np.zeros((2, 4, 3), dtype=np.uint8)
    pixels[:, :2, 0] = 255
    cams = fuse_cams(Red(), Image.fromarray(pixels), np.array([1.0, 0.0]), views=ONE_VIEW)
    high, low = (
        np.exp(z) / (np.exp(z) + 2) for z in (2.0, -2.0)
    )  # (255/255 - 0.5) / 0.25 and (0 - 0.5) / 0.25
    expected = np.array([[high, high, low, low]] * 2) / (high + 1e-5)
    assert list(cams) == [0]
    np.testing.assert_allclose(cams[0], expected, rtol=1e-5)
    both = fuse_cams(Red(), Image.fromarray(pixels), np.array([1.0, 1.0]), views=Views((1.0,)))
    np.testing.assert_allclose(
        both[0], 2 * np.array([[high, high, low, low]] * 2) / (2 * high + 1e-5), rtol=1e-5
    )
    assert list(both) == [0, 1]


def test_flip_in_flip_out() -> None:
    network, image = TinyNetwork(), photo(45, 29)
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    a = fuse_cams(network, image, np.ones(2))
    b = fuse_cams(network, mirrored, np.ones(2))
    for c in (0, 1):
        np.testing.assert_allclose(b[c], a[c][:, ::-1], atol=1e-4)
        assert a[c].shape == (29, 45) and np.ptp(a[c]) > 0.1 and 0.99 < a[c].max() < 1


def test_views_have_the_papers_sizes() -> None:
    network = TinyNetwork()
    fuse_cams(network, photo(45, 29), np.ones(2))
    sizes = [(58, 90), (44, 68), (29, 45), (14, 22)]  # round: half to even
    # a view and its mirror image, one after the other
    assert network.views == [(1, 3, *size) for size in sizes for _ in range(2)]
    network.views.clear()
    fuse_cams(network, photo(45, 29), np.ones(2), views=Views((1.0,), False, long_side=90))
    assert network.views == [(1, 3, 58, 90)]


def test_one_pixel() -> None:
    cams = fuse_cams(TinyNetwork(), photo(1, 1), np.ones(2))
    assert all(
        cam.shape == (1, 1) and np.isfinite(cam).all() and cam > 0.99 for cam in cams.values()
    )


def test_no_labelled_class() -> None:
    assert fuse_cams(TinyNetwork(), photo(9, 7), np.zeros(2)) == {}
    assert fuse_cams(TinyNetwork(), photo(9, 7), np.zeros(2), views=Views(long_side=20)) == {}


def test_the_mode_is_left_as_it_was() -> None:
    network = TinyNetwork()
    for training in (True, False):
        network.train(training)
        fuse_cams(network, photo(8, 8), torch.ones(2))
        assert network.training is training
    network.train()
    network.forward_cam = None  # type: ignore[assignment]
    with pytest.raises(TypeError):
        fuse_cams(network, photo(8, 8), torch.ones(2))
    assert network.training


def test_size_cap_bounds_the_views_and_warns_once() -> None:
    network = Stub()
    image = Image.new("RGB", (6000, 4000), (255, 0, 0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cams = fuse_cams(network, image, np.array([1, 0]), views=Views(max_pixels=100_000))
    assert [w.category for w in caught] == [RuntimeWarning] and "6000×4000" in str(
        caught[0].message
    )
    largest = max(h * w for _, _, h, w in network.views)
    assert 0.97 * 100_000 < largest <= 1.01 * 100_000
    assert cams[0].shape == (4000, 6000)
    np.testing.assert_allclose(cams[0][::500, ::500], 1.0, atol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert working_size((500, 375), Views((0.5, 2.0))) == (500, 375)
        assert working_size((640, 640), Views((2.0,))) == (640, 640)  # COCO's largest
    with pytest.warns(RuntimeWarning):
        w, h = working_size((6000, 4000), Views((2.0,)))
    assert 4 * w * h <= 1.01 * MAX_VIEW_PIXELS and abs(w / h - 1.5) < 0.01


def test_labels_on_logits_leave_nothing_to_other_classes() -> None:
    """Two classes and background with odds 3 : 5 : 2: the first one's share is 0.3 of all, 0.6
    against background."""
    cam = torch.tensor([3.0, 5.0, 2.0]).log().view(1, 3, 1, 1)
    taken = {
        kind: class_maps(cam, 2, classes=[0], label_filter=kind).flatten()
        for kind in ("maps", "logits")
    }
    torch.testing.assert_close(taken["maps"], torch.tensor([0.3]))
    torch.testing.assert_close(taken["logits"], torch.tensor([0.6]))
    views = ViewLogits((cam.numpy(),), (1, 1), (1, 1))
    on_logits = replace(views, label_filter="logits")
    np.testing.assert_allclose(on_logits.maps([1]).ravel(), [5 / 7], rtol=1e-6)
    np.testing.assert_allclose(views.maps().ravel(), [0.3, 0.5], rtol=1e-6)
    network, image = TinyNetwork(), photo(40, 30)
    both = [
        fuse_cams(network, image, np.ones(2), views=Views(label_filter=kind))
        for kind in ("maps", "logits")
    ]
    for c in (0, 1):  # every class is labelled: no difference
        np.testing.assert_allclose(both[0][c], both[1][c], atol=1e-6)
    one = [
        fuse_cams(network, image, np.array([1, 0]), views=Views(label_filter=kind))
        for kind in ("maps", "logits")
    ]
    assert np.abs(one[0][0] - one[1][0]).max() > 0.05
    with pytest.raises(ValueError, match="expected one of maps, logits"):
        fuse_cams(network, image, np.ones(2), views=Views(label_filter="masks"))


def test_plain_cam_network_gives_relu() -> None:
    cam = torch.tensor([[[[-1.0, 2.0]], [[3.0, -4.0]]]])
    np.testing.assert_array_equal(class_maps(cam, 2)[0, :, 0], [[0, 2], [3, 0]])
    both = torch.tensor([[[[0.0]], [[np.log(2.0)]], [[0.0]]]])
    np.testing.assert_allclose(class_maps(both, 2)[0, :, 0, 0], [0.25, 0.5], rtol=1e-6)
    cams = fuse_cams(TinyNetwork(outputs=2), photo(20, 20), np.array([0, 1]))
    assert list(cams) == [1] and cams[1].min() >= 0


def test_wrong_input_is_refused() -> None:
    network = TinyNetwork()
    with pytest.raises(ValueError, match=r"expected labels \(2,\), got \(3,\)"):
        fuse_cams(network, photo(4, 4), np.ones(3))
    for scales in ((), (1.0, 0.0)):
        with pytest.raises(ValueError, match=r"expected (at least one|more than 0)"):
            fuse_cams(network, photo(4, 4), np.ones(2), views=Views(scales))
    network.mean = None  # type: ignore[assignment]
    with pytest.raises(TypeError, match="does not carry mean and std"):
        fuse_cams(network, photo(4, 4), np.ones(2))


def test_resize_keeps_at_least_a_pixel() -> None:
    assert resize_view(photo(1, 9), (1, 9), 0.25).size == (1, 2)
    image = photo(4, 4)
    assert resize_view(image, (4, 4), 1.0) is image


def test_mask_by_hand() -> None:
    first = np.array([[0.1, 0.2], [0.5, 0.9]], dtype=np.float32)
    second = np.array([[0.3, 0.0], [0.5, 0.95]], dtype=np.float32)
    mask = cams_to_mask({7: second, 2: first}, threshold=0.2)
    # one above the threshold; at the threshold: background; tie: the lower class; the larger
    np.testing.assert_array_equal(mask, [[8, 0], [3, 8]])
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(cams_to_mask({2: first}, threshold=0.95), np.zeros((2, 2)))
    np.testing.assert_array_equal(cams_to_mask({}, shape=(2, 3)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="give the mask's shape"):
        cams_to_mask({})


def test_mask_is_the_argmax_of_all_planes() -> None:
    rng = np.random.default_rng(0)
    for threshold in (0.0, 0.2, 0.6):
        planes = np.round(rng.random((4, 20, 20)), 1).astype(np.float32)  # many ties
        stack = np.concatenate([np.full((1, 20, 20), threshold, dtype=np.float32), planes])
        expected = np.array([0, 2, 4, 10, 20])[stack.argmax(axis=0)]
        ours = cams_to_mask(dict(zip((1, 3, 9, 19), planes, strict=True)), threshold=threshold)
        np.testing.assert_array_equal(ours, expected)


def test_views_side_by_side_give_the_same_maps() -> None:
    """Bit for bit: they are summed in the same order; PyTorch's thread count is as it was."""
    network, image, threads = TinyNetwork(), photo(45, 29), torch.get_num_threads()
    one = fuse_cams(network, image, np.ones(2))
    torch.set_num_threads(2)
    try:
        for at_once in (2, 3):
            many = fuse_cams(network, image, np.ones(2), at_once=at_once)
            assert torch.get_num_threads() == 2
            for c in (0, 1):
                np.testing.assert_array_equal(many[c], one[c])
    finally:
        torch.set_num_threads(threads)
