"""Mixed weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.pack_weights import mix
from smaf.core.errors import InputError


def test_mixed_weights_by_hand() -> None:
    """A quarter of the way from 2 to 10 is 4; integers stay."""
    network, other = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    with torch.no_grad():
        network.weight.fill_(2.0)
        other.weight.fill_(10.0)
        other.num_batches_tracked.fill_(7)
    mix(network, other.half(), 0.25)  # type: ignore[arg-type]
    assert network.weight.item() == 4.0 and network.num_batches_tracked.item() == 0
    with pytest.raises(InputError, match="between 0 and 1"):
        mix(network, other, 1.0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="the networks differ"):
        mix(network, nn.Linear(1, 1), 0.5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="the networks differ"):
        mix(network, nn.BatchNorm1d(2), 0.5)  # type: ignore[arg-type]
