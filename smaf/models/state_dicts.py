"""State dicts as other programs save them: found in what a file holds, freed of prefixes."""

from __future__ import annotations

import logging
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from smaf.core.archives import check_members
from smaf.core.errors import InputError
from smaf.core.fields import shown
from smaf.core.files import require_file

log = logging.getLogger("smaf")
# PyTorch's lines around the reason: they advise to run the file's code
_ADVICE = ("Weights only load failed", "Please file an issue", "Check the documentation")
# Names that frameworks give a network's state dict; the first ones are taken before the others
_NAMES = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "state_dict_ema",
    "model_ema",
    "ema",
)
_OTHER = re.compile(r"optim|sched|scaler", re.IGNORECASE)  # names of what is no network
_DEPTH = 4
_WRAPPERS = (
    "module",
    "model",
    "net",
    "network",
    "_forward_module",
)  # of DataParallel, Lightning, DeepSpeed …
_WITHIN = re.compile(
    r"(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)  # torch.compile's, FSDP's
# A key of each network that is known by its keys
_KNOWN = (
    "conv1a.weight",
    "base.layer1.conv1.conv.weight",
    "layer1.conv1.conv.weight",
    "_conv_stem.weight",
)
BODY = "backbone.body."  # what our networks put before a timm model's keys


def load_torch(path: Path, what: str = "weights") -> Any:
    """Read a file with `torch.load`, tensors and plain values only; `what` is its name in errors.

    Raises :class:`InputError` where it is damaged, holds anything else, or would run code.
    """
    require_file(path, what, "name the file that you downloaded or trained")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                check_members(archive, compressed=False)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (
        Exception
    ) as error:  # a damaged checkpoint raises nearly anything; each is the same fault of the file
        lines = [
            line
            for line in str(error).splitlines()
            if line.strip() and not line.startswith(_ADVICE)
        ]
        reason = (lines or [type(error).__name__])[0].strip()[:200]
        raise InputError(
            f"{what} {path} cannot be read as tensors ({reason}): the file is damaged, is no "
            "PyTorch checkpoint, or holds more than weights; save its state dict alone"
        ) from error


def find_state_dict(value: object, path: Path) -> dict[str, Tensor]:
    """The one state dict in what a checkpoint holds, under the network's own keys.

    It may lie below any names, and its keys behind wrappers' prefixes. Of several state dicts the
    one with the name that frameworks use is taken, and a warning says so; where none has such a
    name :class:`InputError` names them. Optimisers' states do not count.

    >>> state = {"module.conv.weight": torch.zeros(1), "module.conv.bias": torch.zeros(1)}
    >>> list(find_state_dict({"epoch": 3, "model": state}, Path("last.pth")))
    ['conv.weight', 'conv.bias']
    """
    found = dict(_state_dicts(value))
    if not found:
        raise InputError(
            f"weights {path} hold no state dict: expected names and tensors, EPS's or SMAF's "
            "checkpoint, or a classifier of this project"
        )
    ranks = sorted((_rank(place), place) for place in found)
    if len(ranks) > 1 and ranks[0][0] == ranks[1][0]:
        raise InputError(
            f"weights {path} hold several state dicts ({_listed(found)}): save one of them alone"
        )
    place = ranks[0][1]
    if len(found) > 1:
        log.warning(
            "warning: weights %s hold several state dicts (%s): %s is taken",
            path,
            _listed(found),
            ".".join(place),
        )
    return _own_keys(_tensors(found[place], path), path)


def _state_dicts(value: object) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    """Each mapping that has tensors under names with dots, after the names that lead to it."""
    waiting: list[tuple[tuple[str, ...], object]] = [((), value)]
    seen: set[int] = set()
    for place, part in waiting:
        if not isinstance(part, Mapping) or id(part) in seen:
            continue
        seen.add(id(part))
        if any(
            isinstance(key, str) and "." in key and isinstance(tensor, Tensor)
            for key, tensor in part.items()
        ):
            yield place, part
        elif len(place) < _DEPTH:
            waiting += [
                ((*place, key), inner)
                for key, inner in part.items()
                if isinstance(key, str) and not _OTHER.search(key)
            ]


def _rank(place: tuple[str, ...]) -> tuple[int, int]:
    """Known names first, of these the least deep; the rest are alike."""
    if not place:
        return 0, 0
    return (len(place), _NAMES.index(place[-1])) if place[-1] in _NAMES else (_DEPTH + 1, 0)


def _listed(found: Collection[tuple[str, ...]]) -> str:
    return ", ".join(".".join(place) for place in list(found)[:4])


def _tensors(value: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict, without what has no dot in its name: an epoch, a score."""
    state = {}
    for key, tensor in value.items():
        if isinstance(tensor, Tensor) and isinstance(key, str):
            state[key] = tensor
        elif isinstance(key, str) and "." in key and not key.endswith("._extra_state"):
            raise InputError(
                f"weights {path} hold {shown(tensor)} for {key}, expected a tensor: save the state "
                "dict alone"
            )
    return state


def _own_keys(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The keys without what wrappers put before and into all of them."""
    plain = {_WITHIN.sub("", key): tensor for key, tensor in state.items()}
    if len(plain) < len(state):
        raise InputError(
            f"weights {path} hold a network twice, compiled and as it is: save one of them"
        )
    for stripped in peeled(plain):
        if any(key in stripped for key in _KNOWN) or any(key.startswith(BODY) for key in stripped):
            return stripped
    while (first := _common(plain)) in _WRAPPERS:
        plain = {key[len(first) + 1 :]: tensor for key, tensor in plain.items()}
    return plain


def _common(state: Mapping[str, Tensor]) -> str:
    """What stands before the first dot of all keys, empty where they differ."""
    firsts = {key.partition(".")[0] if "." in key else "" for key in state}
    return firsts.pop() if len(firsts) == 1 else ""


def peeled(state: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """`state`, then `state` without the first name of its keys, as long as all have it in common.

    >>> whole = {"net.conv.bias": torch.zeros(1), "net.bn.bias": torch.zeros(1)}
    >>> [list(state) for state in peeled(whole)]
    [['net.conv.bias', 'net.bn.bias'], ['conv.bias', 'bn.bias']]
    """
    yield state
    while first := _common(state):
        state = {key[len(first) + 1 :]: tensor for key, tensor in state.items()}
        yield state


def under_names_of(own: Collection[str], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """`state` under the keys `own` of a network, without common prefixes or below :data:`BODY`."""
    for stripped in peeled(state):
        for place in ("", BODY):
            if any(place + key in own for key in stripped):
                return {place + key: tensor for key, tensor in stripped.items()}
    return state
