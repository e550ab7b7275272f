"""The store of fused maps: small, exact to 1/2000, and closed to damaged files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from smaf.core.errors import InputError, MissingInputError
from smaf.core.fused_maps import fused_shape, read_fused, write_fused, write_published

HALF_STEP = 5e-4 + 1e-6


def test_golden_maps_survive_and_take_a_quarter_of_the_published_bytes(
    golden: Callable[[str], Path], tmp_path: Path
) -> None:
    stored = np.load(golden("fused_cam.npz"))
    cams = {int(c): cam for c, cam in zip(stored["classes"], stored["cam"], strict=True)}
    ours, published = tmp_path / "a.npz", tmp_path / "a.npy"
    write_fused(ours, cams, (125, 93))
    write_published(published, cams)
    assert published.stat().st_size > stored["cam"].nbytes == 2 * 125 * 93 * 4
    assert ours.stat().st_size <= published.stat().st_size / 4
    again, exact = read_fused(ours, num_classes=20), read_fused(published, num_classes=20)
    assert list(again) == list(exact) == [7, 14]
    for c, cam in cams.items():
        assert again[c].dtype == np.float32 and float(np.abs(again[c] - cam).max()) <= HALF_STEP
        np.testing.assert_array_equal(exact[c], cam)
        assert again[c].min() >= 0 and again[c].max() <= 1


def test_worked_by_hand(tmp_path: Path) -> None:
    """0.1234 lies nearest to 0.123; what is outside 0..1 is clipped; jumps from 0 to 1 and back are
    held."""
    path = tmp_path / "a.npz"
    write_fused(path, {5: np.array([[0.1234, 1.0], [1.2, -0.1]], dtype=np.float32)}, (2, 2))
    np.testing.assert_allclose(
        read_fused(path, num_classes=6)[5], [[0.123, 1.0], [1.0, 0.0]], atol=1e-7
    )


def test_random_maps_round_trip(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    path = tmp_path / "a.npz"
    for _ in range(40):
        h, w = (int(s) for s in rng.integers(1, 40, 2))
        classes = sorted(int(c) for c in rng.choice(254, int(rng.integers(0, 5)), replace=False))
        cams = {c: rng.random((h, w)).astype(np.float32) ** rng.integers(1, 9) for c in classes}
        if classes:
            cams[classes[0]] = (cams[classes[0]] > 0.5).astype(np.float32)  # the largest jumps
        write_fused(path, dict(reversed(cams.items())), (h, w))
        again = read_fused(path, num_classes=254)
        assert list(again) == classes and fused_shape(path) == (h, w)
        for c in classes:
            assert float(np.abs(again[c] - cams[c]).max()) <= HALF_STEP
        write_fused(path, again, (h, w))  # what was read is written without further loss
        for c, cam in read_fused(path, num_classes=254).items():
            np.testing.assert_array_equal(cam, again[c])


def test_no_class_keeps_the_size(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_fused(path, {}, (7, 9))
    assert read_fused(path, num_classes=1) == {} and fused_shape(path) == (7, 9)


def test_classes_outside_the_task_are_refused(tmp_path: Path) -> None:
    cam = np.zeros((2, 2), dtype=np.float32)
    write_fused(tmp_path / "a.npz", {3: cam, 20: cam}, (2, 2))
    write_published(tmp_path / "b.npy", {-1: cam, 3: cam})
    with pytest.raises(InputError, match=r"a\.npz has the classes \[20\], the task has 20"):
        read_fused(tmp_path / "a.npz", num_classes=20)
    with pytest.raises(InputError, match=r"b\.npy has the classes \[-1\]"):
        read_fused(tmp_path / "b.npy", num_classes=20)


def test_writing_another_size_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) do not have the size \(3, 2\)"):
        write_fused(tmp_path / "a.npz", {0: np.zeros((2, 3), dtype=np.float32)}, (3, 2))
    assert not (tmp_path / "a.npz").exists()


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    path = tmp_path / "a.npz"
    write_fused(path, {2: rng.random((20, 30)).astype(np.float32)}, (20, 30))
    whole = path.read_bytes()
    for length in range(0, len(whole), 23):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"a\.npz cannot be read"):
            read_fused(path, num_classes=20)
    refused = 0
    for _ in range(400):
        broken = bytearray(whole)
        for place in rng.integers(0, len(whole), 2):
            broken[place] = int(rng.integers(0, 256))
        path.write_bytes(bytes(broken))
        try:
            read_fused(path, num_classes=20)
        except InputError:
            refused += 1
    assert refused > 300
    with pytest.raises(MissingInputError, match="run stage 1"):
        read_fused(tmp_path / "none.npz", num_classes=20)


def test_other_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    good = {
        "classes": np.array([1], dtype=np.uint8),
        "size": np.array([2, 2]),
        "low": np.zeros((1, 2, 2), np.uint8),
        "high": np.zeros((1, 2, 2), np.uint8),
    }
    for change in (
        {"low": np.zeros((1, 2, 3), np.uint8)},
        {"size": np.array([4, 1])},
        {"size": np.array(4)},
        {"classes": np.array([1, 2], dtype=np.uint8)},
        {"classes": np.array(1)},
        {"high": np.zeros((1, 2, 2))},
        {"low": np.full((1, 2, 2), 1000, np.int16)},
        {"size": np.array(["a", "b"])},
        {"classes": np.array(["a"])},
        {"low": np.full((1, 2, 2), 255, np.uint8), "high": np.full((1, 2, 2), 255, np.uint8)},
    ):
        np.savez(path, **{**good, **change})
        with pytest.raises(InputError, match=r"fused map .*a\.npz"):
            read_fused(path, num_classes=20)
    np.savez(path, classes=good["classes"])
    with pytest.raises(InputError, match="it has no size"):
        read_fused(path, num_classes=20)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(InputError, match="cannot be read"):
        read_fused(path, num_classes=20)


def test_published_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for value in (
        {"cat": np.zeros((2, 2))},
        {1: np.zeros(4)},
        {1: np.full((2, 2), np.nan)},
        {1: "map"},
        {1: np.zeros((2, 2)), 2: np.zeros((2, 3))},
    ):
        np.save(path, value, allow_pickle=True)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=r"fused map .*a\.npy"):
            read_fused(path, num_classes=20)
