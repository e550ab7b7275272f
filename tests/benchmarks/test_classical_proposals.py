"""Classical proposals: the hierarchy of segments by hand; what the script writes can be read."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from small_set import PICTURES, make_set

from smaf.core.images import read_mask
from smaf.core.proposals import read_proposals
from smaf.ops import vote_proposals

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "classical_proposals.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("classical_proposals", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_hierarchy_by_hand(script: ModuleType) -> None:
    """Four segments in a row, of grey 0, 1, 9 and 10.5: the first two merge, then the last two."""
    labels = np.repeat([[0, 1, 2, 3]], 2, axis=0)
    greys = np.array([0.0, 1.0, 9.0, 10.5])[labels]
    assert script.neighbours(labels) == {(0, 1), (1, 2), (2, 3)}
    regions = [sorted(r) for r in script.tree_regions(labels, np.stack([greys] * 3, axis=-1))]
    assert regions == [[0], [1], [2], [3], [0, 1], [2, 3], [0, 1, 2, 3]]


def test_a_large_segment_is_not_merged_for_a_small_difference(script: ModuleType) -> None:
    """Ward's cost of 1 and 2 is 10·1/11·1, of 0 and 1 it is 10·10/20·0.81: the former is less."""
    labels = np.array([[0] * 10 + [1] * 10 + [2]])
    greys = np.array([0.0, 0.9, 1.9])[labels]
    regions = script.tree_regions(labels, np.stack([greys] * 3, axis=-1))
    assert [sorted(region) for region in regions[3:]] == [[1, 2], [0, 1, 2]]


@pytest.mark.parametrize("kind", ["tree", "graph"])
def test_proposals_of_a_list(
    script: ModuleType, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("skimage")
    root, out = make_set(tmp_path / "set"), tmp_path / "out"
    masks = root / "SegmentationClassAug"
    words = ["--data_root", root, "--list", "val", "--out", out, "--kind", kind, "--masks", masks]
    script.main([str(word) for word in words])
    assert "mIoU 100.0, after the vote" in capsys.readouterr().out
    mask = read_mask(masks / "p6.png")
    found = list(read_proposals(out, "p6", size=PICTURES["p6"][:2]))
    assert len(found) > 3
    small = [region for region in found if region.mean() < 0.5]
    voted = vote_proposals(mask, small)
    assert ((voted == 1) & (mask == 1)).sum() > 0.8 * (mask == 1).sum()
