"""Regions of masks judged by their like in other photographs, on rendered pictures."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from small_set import PICTURES, good, run, stamps

from smaf import vote_regions
from smaf.core.errors import InputError
from smaf.core.images import read_mask, write_mask
from smaf.data.layout import open_data
from smaf.engine.region_bank import BankMaker, read_bank, write_bank
from smaf.ops.bank import Bank


def vote(small: Path, masks: Path, out: Path, weights: Path, *extra: object):
    return run(
        vote_regions.main,
        *("--data_root", small, "--list", "all", "--target_dir", masks, "--out", out),
        *("--weights", weights, "--device", "cpu", "--neighbours", 3, "--min_pixels", 30),
        *("--superpixels", 20, *extra),
    )


@pytest.fixture(scope="module")
def masks(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """True masks, but that the tent of p7 is called a box."""
    folder, data = tmp_path_factory.mktemp("wrong"), open_data(small)
    for image_id in PICTURES:
        mask = data.mask(image_id)
        if image_id == "p7":
            mask[mask == 3] = 2
        write_mask(folder / f"{image_id}.png", mask)
    return folder


def test_a_wrong_region_is_mended(
    small: Path, masks: Path, classifier: Path, tmp_path: Path
) -> None:
    pytest.importorskip("skimage")
    out, data = tmp_path / "voted", open_data(small)
    good(vote(small, masks, out, classifier, "--evaluate"))
    truth, before, after = data.mask("p7"), read_mask(masks / "p7.png"), read_mask(out / "p7.png")
    assert (after[truth == 3] == 3).mean() > 0.8 and (before[truth == 3] == 2).all()
    assert np.array_equal(after[truth < 2], before[truth < 2])  # background stays
    assert (after[truth == 2] == 2).mean() > 0.8
    assert np.array_equal(after == 255, before == 255)
    for image_id in ("p0", "p1", "p2", "p6"):  # one class: nothing to change it to
        assert np.array_equal(read_mask(out / f"{image_id}.png"), data.mask(image_id))
    bank = read_bank(out / "bank.npz")
    assert set(bank.values.tolist()) == {0, 1, 2, 3} and bank.photos.max() < len(PICTURES)
    # A stopped run goes on, with the bank that it has
    whole = stamps(out)
    (out / "p7.png").unlink()
    good(vote(small, masks, out, classifier))
    assert np.array_equal(read_mask(out / "p7.png"), after)
    assert stamps(out)["bank.npz"] == whole["bank.npz"] and stamps(out)["p0.png"] == whole["p0.png"]
    other = vote(small, masks, out, classifier, "--list", "train")
    assert other.status == 2 and "made with other settings" in other.lines[-1]
    # With share 1 and all regions allowed to change, background too, nothing is left to chance
    none = tmp_path / "none"
    good(vote(small, masks, none, classifier, "--neighbours", 25, "--share", 1))
    assert np.array_equal(read_mask(none / "p7.png"), before)


def test_bad_input_is_one_line(
    small: Path, masks: Path, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = vote(small, tmp_path / "nowhere", tmp_path / "o", classifier)
    assert done.status == 2 and "p0.png (and 7 more) does not exist" in done.lines[-1]
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    done = vote(small, masks, tmp_path / "o", classifier)
    assert done.status == 2 and "pip install scikit-image" in done.lines[-1]
    done = vote(small, masks, tmp_path / "o", classifier, "--share", 1.5)
    assert done.status == 2 and "--share 1.5: expected a value from 0 to 1" in done.lines[-1]


def test_a_bank_keeps_as_many_as_it_may_and_is_read_as_written(tmp_path: Path) -> None:
    maker = BankMaker(2, seed=0)
    for number in range(50):
        maker.add(Bank(np.full((2, 3), number), np.array([0, 1]), np.full(2, number)))
    bank = maker.bank()
    assert np.bincount(bank.values).tolist() == [5, 2]  # 2.5 times as many of background
    assert np.array_equal(bank.features[:, 0], bank.photos)
    assert bank.photos.min() < 30  # not the last ones alone
    path = tmp_path / "bank.npz"
    write_bank(path, bank)
    assert np.array_equal(read_bank(path).features, bank.features)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"bank .* cannot be read"):
        read_bank(path)
