"""State dicts of timm's and DINOv2's whole networks, fitted to a backbone that differs in form."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

_UNUSED = "num_batches_tracked"


def fitted_state(body: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `state`, a whole network's, under the keys of `body`.

    Empty where they fit as they are, or where some lack. Of a transformer timm resamples positions
    to the grid that it was made with, and renames what DINOv2's release calls otherwise. Of a
    network that ends at a level (`features_only`), where timm joins the first two names of a key,
    what lies behind the level is left out.
    """
    own = {k: v.shape for k, v in body.state_dict().items() if not k.endswith(_UNUSED)}
    if all(key in state and state[key].shape == shape for key, shape in own.items()):
        return {}
    if "pos_embed" in own:
        state = _resampled(body, state)
    for rename in (str, _joined, "model.{}".format):
        forms = {rename(name): tensor for name, tensor in state.items()}
        if all(key in forms for key in own):
            return {key: forms[key] for key in body.state_dict() if key in forms}
    return {}


def _joined(name: str) -> str:
    return name.replace(".", "_", 1)


def _resampled(body: nn.Module, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """What timm's own reader makes of a transformer's weights; as they are where it cannot."""
    module = importlib.import_module(type(body).__module__)
    read: Any = getattr(module, "checkpoint_filter_fn", None)
    if read is None:
        return state
    try:
        fitted: dict[str, Tensor] = read(dict(state), body)
    except Exception:  # of a network of another kind: what differs is said by who loads it
        return state
    return fitted
