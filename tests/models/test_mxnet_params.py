"""MXNet's `.params`: three layouts read exactly, names mapped, and no damaged file ends in anything
but InputError."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from smaf.core.errors import InputError
from smaf.models import read_checkpoint
from smaf.models.mxnet_params import published_key, read_mxnet_params

Golden = Callable[[str], Path]
LAYOUTS = ("v1.params", "v2.params", "legacy.params")


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_is_read_exactly(golden: Golden, name: str) -> None:
    expected = np.load(golden("expected_params.npz"))
    arrays = read_mxnet_params(golden(name))
    assert set(arrays) == set(expected)
    for key in expected:
        assert arrays[key].dtype == np.float32 and np.array_equal(arrays[key], expected[key]), key


@pytest.mark.parametrize("name", LAYOUTS)
def test_names_become_the_published_ones(golden: Golden, name: str) -> None:
    expected = np.load(golden("expected_params.npz"))
    pairs = {
        "conv1a.weight": "arg:conv1a_weight",
        "b2.conv_branch2a.weight": "arg:res2a_branch2a_weight",
        "b2.conv_branch1.weight": "arg:res2a_branch1_weight",
        "b2_1.conv_branch2b1.weight": "arg:res2b1_branch2b1_weight",
        "b2.bn_branch2a.bias": "arg:bn2a_branch2a_beta",
        "b2.bn_branch2a.weight": "arg:bn2a_branch2a_gamma",
        "b2.bn_branch2a.running_mean": "aux:bn2a_branch2a_moving_mean",
        "b2.bn_branch2a.running_var": "aux:bn2a_branch2a_moving_var",
        "b4_5.conv_branch2a.weight": "arg:res4b5_branch2a_weight",
        "b4_5.bn_branch2b1.weight": "arg:bn4b5_branch2b1_gamma",
        "b6.conv_branch2b2.weight": "arg:res6a_branch2b2_weight",
        "b7.conv_branch1.weight": "arg:res7a_branch1_weight",
        "bn7.bias": "arg:bn7_beta",
        "bn7.weight": "arg:bn7_gamma",
        "bn7.running_mean": "aux:bn7_moving_mean",
        "bn7.running_var": "aux:bn7_moving_var",
    }
    state = read_checkpoint(golden(name)).state
    assert set(state) == set(pairs)  # the 1000-class layer is dropped
    for ours, theirs in pairs.items():
        assert np.array_equal(state[ours].numpy(), expected[theirs]), ours


def test_every_published_key_has_one_mxnet_name(golden_keys: dict[str, tuple[int, ...]]) -> None:
    """Spell MXNet's name from each published key, by the rule of the format: the reader must lead
    back."""
    kinds = {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_var",
    }
    checked = 0
    for key in golden_keys:
        block, _, rest = key.partition(".")
        if block in {"cov_feat", "bn", "fc8"} or key.endswith("num_batches_tracked"):
            continue
        if block in {"conv1a", "bn7"}:
            name = f"{block}_{rest if block == 'conv1a' else kinds[rest]}"
        else:
            stage, _, repeat = block[1:].partition("_")
            unit = f"{stage}b{repeat}" if repeat else f"{stage}a"
            layer, kind = rest.split(".")
            part = layer.split("_", 1)[1]
            name = (
                f"res{unit}_{part}_weight"
                if layer.startswith("conv")
                else f"bn{unit}_{part}_{kinds[kind]}"
            )
        assert published_key(f"arg:{name}") == key
        checked += 1
    assert checked > 150


def test_foreign_names_are_refused(golden: Golden, tmp_path: Path) -> None:
    data = golden("v2.params").read_bytes()
    path = tmp_path / "other.params"
    path.write_bytes(data.replace(b"arg:conv1a_weight", b"arg:stage1_weight"))
    with pytest.raises(
        InputError,
        match=r"other\.params have 'arg:stage1_weight', which is not a name of ResNet-38",
    ):
        read_checkpoint(path)


def test_contents_decide_not_the_suffix(golden: Golden, tmp_path: Path) -> None:
    path = tmp_path / "resnet38.bin"
    path.write_bytes(golden("v2.params").read_bytes())
    assert "conv1a.weight" in read_checkpoint(path).state
    assert read_checkpoint(path).classifier is None


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_truncation_is_refused(golden: Golden, tmp_path: Path, name: str) -> None:
    data = golden(name).read_bytes()
    path = tmp_path / "cut.params"
    for length in [*range(0, 120), *range(120, len(data), 97), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"cut\.params"):
            read_mxnet_params(path)
        with pytest.raises(InputError, match=r"cut\.params"):
            read_checkpoint(path)


def test_sparse_arrays_and_claims_beyond_the_file_are_refused(
    golden: Golden, tmp_path: Path
) -> None:
    data = golden("v2.params").read_bytes()
    path = tmp_path / "bad.params"
    faults = {
        "first numbers": struct.pack("<Q", 0x113) + data[8:],
        "claims": data[:16] + struct.pack("<Q", 1 << 60) + data[24:],
        "sparse": data[:28] + struct.pack("<i", 1) + data[32:],
        "dimensions": data[:32] + struct.pack("<I", 4_000_000_000) + data[36:],
        "it ends at byte": data[:36] + struct.pack("<q", 1 << 61) + data[44:],
        "shape": data[:36] + struct.pack("<q", -1) + data[44:],
    }
    for fault, content in faults.items():
        path.write_bytes(content)
        with pytest.raises(InputError, match=fault):
            read_mxnet_params(path)


def test_random_damage_is_read_or_refused_and_nothing_else(golden: Golden, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "fuzz.params"
    refused = 0
    for case in range(200):
        data = bytearray(golden(LAYOUTS[case % 3]).read_bytes())
        if case % 4 == 3:
            data = bytearray(
                data[:24]
                + rng.integers(0, 256, int(rng.integers(0, 4000)), dtype=np.uint8).tobytes()
            )
        else:  # in the heads of the first arrays, or among the names
            places = (
                rng.integers(0, 120, 3) if case % 2 else rng.integers(len(data) - 400, len(data), 3)
            )
            for place in places:
                data[place] = int(rng.integers(0, 256))
        path.write_bytes(bytes(data))
        for read in (read_mxnet_params, read_checkpoint):
            try:
                read(path)
            except InputError as error:
                assert "fuzz.params" in str(error)
                refused += 1
    assert refused > 150
