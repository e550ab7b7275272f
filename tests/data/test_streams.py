"""Training samples by number: pure in (seed, k), complete in each epoch, and split over processes
without overlap."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from smaf.core.errors import InputError
from smaf.core.fused_maps import fused_path, fused_paths, write_fused, write_published
from smaf.data.augment import Augmentation
from smaf.data.layout import DataRoot, open_data
from smaf.data.streams import FusedStream, SaliencyStream, StreamSampler, TrainingStream
from smaf.engine.saliency import check_saliency

SMALL = Augmentation(long_side=(24, 60), crop=32)
STATISTICS = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.5)}
IDENTITY = Augmentation(long_side=(40, 40), crop=40, flip=0.0, jitter=None)  # `one` is 40×30


@pytest.fixture
def data(tiny_voc: Path) -> DataRoot:
    return open_data(tiny_voc)


def stream(
    data: DataRoot,
    kind: type[TrainingStream] = SaliencyStream,
    *,
    seed: int = 3,
    name: str = "train_aug",
    augmentation: Augmentation = SMALL,
    **own: Any,
) -> TrainingStream:
    ids = data.ids(name)
    return kind(data, ids, augmentation=augmentation, seed=seed, **STATISTICS, **own)


def test_a_sample_depends_on_seed_and_number_only(data: DataRoot) -> None:
    first, second, other = stream(data), stream(data), stream(data, seed=4)
    numbers = [0, 7, 3, 104, 7, 51]
    taken = {k: first[k] for k in numbers}
    np.random.seed(0)
    torch.manual_seed(0)
    for k in reversed(numbers):
        again = second[k]
        assert set(again) == {"image", "labels", "saliency"}
        assert all(torch.equal(again[name], taken[k][name]) for name in again)
    assert not any(torch.equal(other[k]["image"], taken[k]["image"]) for k in numbers)
    assert len({float(taken[k]["image"].sum()) for k in set(numbers)}) == len(set(numbers))


def test_every_id_once_an_epoch_in_a_new_order(data: DataRoot) -> None:
    s = stream(data)
    epochs = [[s.place(k) for k in range(5 * e, 5 * e + 5)] for e in range(30)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 10
    counts = Counter(epoch[0] for epoch in epochs)
    assert len(counts) == 5


def test_values_without_augmentation(data: DataRoot) -> None:
    s = SaliencyStream(data, ["one"], augmentation=IDENTITY, seed=0, **STATISTICS)
    for k in range(6):
        sample = s[k]
        rows = np.flatnonzero(sample["image"].abs().sum(dim=(0, 2)).numpy())
        top = int(rows[0])
        assert rows.tolist() == list(range(top, top + 30))  # 10 rows are padding
        pixels = np.asarray(data.photo("one"), dtype=np.float32) / 255
        expected = (pixels - np.array(STATISTICS["mean"])) / np.array(STATISTICS["std"])
        np.testing.assert_allclose(
            sample["image"][:, top : top + 30].permute(1, 2, 0), expected, atol=1e-5
        )
        np.testing.assert_array_equal(
            sample["saliency"][0, top : top + 30] * 255, np.asarray(data.saliency("one"))
        )
        assert not sample["saliency"][0, :top].any() and not sample["saliency"][0, top + 30 :].any()
        assert sample["labels"].tolist() == [1.0, 0.0, 0.0]


def test_saliency_follows_the_photograph(data: DataRoot) -> None:
    """The boxes are the only vivid parts of the photographs, so colour tells where saliency must
    be."""
    s = stream(data, augmentation=Augmentation(long_side=(40, 80), crop=48, jitter=None))
    mean, std = (torch.tensor(STATISTICS[name])[:, None, None] for name in ("mean", "std"))
    agree = []
    for k in range(20):
        sample = s[k]
        colours = sample["image"] * std + mean
        vivid = (colours.amax(dim=0) - colours.amin(dim=0) > 0.35) & (sample["image"] != 0).any(
            dim=0
        )
        agree.append(float((vivid == (sample["saliency"][0] > 0.5)).float().mean()))
    assert min(agree) > 0.95


def test_fused_maps_follow_the_photograph(data: DataRoot, tmp_path: Path) -> None:
    """Maps made of the saliency maps: fused and saliency see the same geometry, one on a quarter of
    the grid."""
    for image_id in data.ids("train_aug"):
        saliency = np.asarray(data.saliency(image_id), dtype=np.float32) / 255
        write_fused(tmp_path / f"{image_id}.npz", {2: saliency, 0: saliency / 2}, saliency.shape)
    larger = Augmentation(long_side=(48, 60), crop=32)  # where the picture shrinks, Pillow averages
    salient = stream(data, SaliencyStream, augmentation=larger)
    fused = stream(data, FusedStream, augmentation=larger, maps_folder=tmp_path, whole=True)
    for k in range(12):
        a, b = fused[k], salient[k]
        assert torch.equal(a["image"], b["image"])
        small = torch.nn.functional.interpolate(
            b["saliency"][None], size=(8, 8), mode="bilinear", align_corners=True
        )
        torch.testing.assert_close(a["fused"][2], small[0, 0], atol=0.02, rtol=0)
        torch.testing.assert_close(a["fused"][0], a["fused"][2] / 2, atol=1e-3, rtol=0)
        assert not a["fused"][1].any() and a["fused"].shape == (3, 8, 8)
        # the teacher's view: the whole photograph, and where the crop's pixels lie in it
        assert a["whole"].shape == (3, 32, 32) and a["grid"].shape == (8, 8, 2)
        full = data.saliency(fused.ids[fused.place(k)]).resize((32, 32), Image.Resampling.BILINEAR)
        whole = torch.from_numpy(np.array(full, dtype=np.float32) / 255)[None, None]
        back = torch.nn.functional.grid_sample(whole, a["grid"][None], align_corners=False)[0, 0]
        assert float((back - a["fused"][2]).abs().mean()) < 0.06


def test_fused_maps_of_another_size_are_refused(data: DataRoot, tmp_path: Path) -> None:
    write_fused(tmp_path / "one.npz", {0: np.zeros((30, 41), dtype=np.float32)}, (30, 41))
    s = FusedStream(data, ["one"], maps_folder=tmp_path, augmentation=SMALL, seed=0, **STATISTICS)
    with pytest.raises(InputError, match="is 41×30 pixels, its photograph is 40×30"):
        s[0]
    write_fused(tmp_path / "one.npz", {}, (30, 40))
    assert not s[0]["fused"].any()


def test_large_photographs_are_cut_like_their_maps(tmp_path: Path, tiny_voc: Path) -> None:
    """A JPEG that is unpacked at a quarter, lying on its side: its maps have the file's size."""
    bright = np.zeros((400, 600), dtype=np.uint8)
    bright[100:220, 300:500] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = Image.fromarray(np.rot90(bright))
    (tiny_voc / "JPEGImages/one.png").unlink()
    lying.save(tiny_voc / "JPEGImages/one.jpg", exif=exif, quality=95)
    data = open_data(tiny_voc)
    assert data.photo("one").size == (600, 400)
    write_fused(tmp_path / "one.npz", {1: bright / np.float32(255)}, bright.shape)
    ranges = Augmentation(long_side=(64, 70), crop=64, jitter=None, centres=True)
    s = FusedStream(
        data,
        ["one"],
        maps_folder=tmp_path,
        augmentation=ranges,
        seed=0,
        mean=(0,) * 3,
        std=(1,) * 3,
    )
    for k in range(6):
        sample = s[k]
        grey = sample["image"].mean(dim=0, keepdim=True)
        cells = torch.nn.functional.avg_pool2d(grey, 4)[0]
        assert float((cells - sample["fused"][1]).abs().mean()) < 0.02
        assert float(cells.max()) > 0.95


def test_the_projects_maps_come_before_published_ones(tmp_path: Path) -> None:
    cam = {0: np.zeros((2, 2), dtype=np.float32)}
    assert fused_path(tmp_path, "a").name == "a.npz"
    write_published(tmp_path / "a.npy", cam)
    assert fused_path(tmp_path, "a").name == "a.npy"
    write_fused(tmp_path / "a.npz", cam, (2, 2))
    assert fused_path(tmp_path, "a").name == "a.npz"
    write_published(tmp_path / "b.npy", cam)
    found = fused_paths(tmp_path, ["b", "c", "a"])
    assert found == {"b": tmp_path / "b.npy", "a": tmp_path / "a.npz"}


@pytest.mark.parametrize(
    ("batch", "world", "accumulate"), [(4, 1, 1), (3, 2, 1), (2, 3, 4), (1, 4, 2)]
)
def test_processes_share_the_samples(batch: int, world: int, accumulate: int) -> None:
    def numbers(rank: int, start: int = 0, size: int = batch, of: int = world) -> list[int]:
        sampler = StreamSampler(
            start=start, steps=10, batch_size=size, accumulate=accumulate, rank=rank, world=of
        )
        drawn = list(sampler)
        assert len(drawn) == len(sampler)
        return drawn

    shares = [numbers(rank) for rank in range(world)]
    alone = numbers(0, size=batch * world, of=1)
    assert (
        sorted(k for share in shares for k in share)
        == alone
        == list(range(10 * accumulate * batch * world))
    )
    for forward in range(
        10 * accumulate
    ):  # the processes' batches together are the single process's batch
        part = slice(forward * batch, (forward + 1) * batch)
        together = [k for share in shares for k in share[part]]
        assert together == alone[forward * batch * world : (forward + 1) * batch * world]
    for start in (0, 3, 10):  # a stopped run goes on with what is left
        for rank, share in enumerate(shares):
            rest = numbers(rank, start=start)
            assert rest == share[start * accumulate * batch :]


def test_a_photograph_of_nothing_has_an_empty_saliency_map(tiny_voc: Path) -> None:
    """It needs none; one that is there is not read, whatever it says."""
    labels = (tiny_voc / "labels.csv").read_text()
    (tiny_voc / "labels.csv").write_text(labels.replace("one.png,cat", "one.png,"))
    (tiny_voc / "SALImages/two.png").unlink()
    data = open_data(tiny_voc)
    (tiny_voc / "SALImages/one.png").write_bytes(b"not an image")
    samples = SaliencyStream(data, ["one"], augmentation=IDENTITY, seed=0, **STATISTICS)
    assert samples[0]["saliency"].shape == (1, 40, 40) and not samples[0]["saliency"].any()
    assert samples[0]["labels"].tolist() == [0, 0, 0] and samples[0]["image"].any()
    data.require(["one", "three"], saliency=True, labels=True)
    (tiny_voc / "SALImages/one.png").unlink()
    assert not samples[1]["saliency"].any()
    data.require(["one", "three"], saliency=True, labels=True)
    check_saliency(data, ["one", "three"])
    with pytest.raises(InputError, match=r"saliency map .*two\.png does not exist"):
        data.require(["one", "two"], saliency=True)


@pytest.mark.parametrize("suffix", ["npz", "npy"])
def test_fused_maps_of_a_photograph_of_nothing_are_zeros(
    suffix: str, data: DataRoot, tmp_path: Path
) -> None:
    path = tmp_path / f"one.{suffix}"
    if suffix == "npz":
        write_fused(path, {}, (30, 40))
    else:
        write_published(path, {})
    samples = FusedStream(
        data, ["one"], maps_folder=tmp_path, augmentation=IDENTITY, seed=0, **STATISTICS
    )
    assert samples[0]["fused"].shape == (3, 10, 10) and not samples[0]["fused"].any()
