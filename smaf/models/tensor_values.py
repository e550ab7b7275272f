"""Values of a checkpoint's tensors: which ones a network can have, and those of half precision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from smaf.core.errors import InputError

_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_WHOLE = {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool}


def check_tensors(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return `state` where each tensor is dense and finite.

    Raises :class:`InputError`, which names the first tensor that is not.
    """
    for key, tensor in state.items():
        if fault := _fault(tensor):
            raise InputError(f"weights {path}: {key} {fault}: download the file, or train, again")
    return dict(state)


def _fault(tensor: Tensor) -> str | None:
    kind = str(tensor.dtype).removeprefix("torch.")
    if (
        tensor.layout != torch.strided
        or tensor.is_quantized
        or tensor.dtype not in _FLOATS | _WHOLE
    ):
        layout = str(tensor.layout).removeprefix("torch.").replace("strided", "dense")
        return f"is a {layout} tensor of {kind}, expected a dense one of floating-point numbers"
    if tensor.is_meta or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"claims the shape {tuple(tensor.shape)}, for which the file has too few values"
    if tensor.dtype not in _FLOATS or not tensor.numel():
        return None
    low, high = (float(value) for value in torch.aminmax(tensor.detach()))
    if not max(-low, high) <= torch.finfo(torch.float32).max:
        return "holds NaN, infinite or too large values"
    return None


def halved(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """`state` with its floating-point tensors in float16, for the file `path`.

    Raises :class:`InputError` where a value is too large for float16.

    >>> halved({"a": torch.ones(1), "n": torch.tensor(3)}, Path("w.pth"))
    {'a': tensor([1.], dtype=torch.float16), 'n': tensor(3)}
    """
    half = {
        key: value.half() if value.is_floating_point() else value for key, value in state.items()
    }
    for key, value in half.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise InputError(f"{path}: {key} has values beyond float16: save it in float32")
    return half
