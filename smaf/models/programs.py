"""What a `torch.export` program (`.pt2`) may hold: known operators, sizes, tensors, and no code."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from smaf.core.archives import check_members
from smaf.core.errors import InputError
from smaf.core.fields import parse_json, shown
from smaf.core.network_facts import FACTS

# What ResNet-38, DeepLab-V2, EfficientNet-Lite and the convolutional timm backbones are exported
# as
_ATEN = (
    "add.Tensor",
    "add_.Tensor",
    "sub.Tensor",
    "mul.Tensor",
    "mul_.Tensor",
    "div.Tensor",
    "maximum.default",
    "rsqrt.default",
    "conv2d.default",
    "batch_norm.default",
    "linear.default",
    "layer_norm.default",
    "mean.dim",
    "max_pool2d.default",
    "avg_pool2d.default",
    "adaptive_avg_pool2d.default",
    "upsample_bilinear2d.vec",
    "pad.default",
    "relu.default",
    "relu_.default",
    "relu6.default",
    "relu6_.default",
    "hardtanh.default",
    "hardtanh_.default",
    "sigmoid.default",
    "softmax.int",
    "silu.default",
    "silu_.default",
    "gelu.default",
    "hardsigmoid.default",
    "hardswish.default",
    "hardswish_.default",
    "feature_dropout.default",
    "dropout.default",
    "arange.default",
    "arange.start",
    "index_select.default",
    "slice.Tensor",
    "split.Tensor",
    "split_with_sizes.default",
    "cat.default",
    "unsqueeze.default",
    "view.default",
    "permute.default",
    "sym_size.int",
    "_assert_scalar.default",
    "sym_constrain_range_for_size.default",
)
_SIZES = ("add", "sub", "mul", "floordiv", "eq", "ne", "lt", "le", "gt", "ge")
OPERATORS = frozenset(
    [*(f"torch.ops.aten.{name}" for name in _ATEN), *(f"_operator.{name}" for name in _SIZES)]
)
_MEMBER = re.compile(
    r"(?:[^/]+/)?(?:archive_format|archive_version|version|byteorder|\.data/\w+|models/model\.json|"
    r"data/(?:weights|constants|sample_inputs)/(?!custom_obj|opaque)[\w.\-]+|extra/smaf\.json|"
    r"serialized_\w+\.(?:json|pt)|extra_files/smaf\.json)"
)
# What the sizes in a program are written with; no powers, which could take for ever
_SIZE = re.compile(r"[\w\s+\-*/%(),<>=!&|~']*")
_SIZE_WORDS = re.compile(
    r"[suz]\d+|\d{1,18}|Symbol|Integer|positive|integer|nonnegative|Add|Mul|Max|Min|Mod|"
    r"PythonMod|FloorDiv|CleanDiv|CeilDiv|IntTrueDiv|FloatTrueDiv|ToFloat|FloorToInt|CeilToInt|"
    r"RoundToInt|TruncToInt|Identity|Where|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|oo|int_oo|True|False|None"
)
_CONTAINERS = {None, "builtins.tuple", "builtins.list", "builtins.dict"}  # of arguments and results
_FIX = "export it again"
_JSON_BYTES = 64 << 20


def check_program(path: Path) -> str:
    """Judge a program before PyTorch reads it and return its `smaf.json`.

    ValueError says what it may not hold, :class:`InputError` what is no JSON.

    Beside tensors a program holds sizes as expressions (SymPy evaluates them), operators by name,
    how its arguments are nested (PyTorch may import what that names), and perhaps guards, which are
    Python, or objects of custom classes.
    """
    facts = None
    with zipfile.ZipFile(path) as archive:
        for member in check_members(archive, compressed=False):
            name = member.filename
            if not _MEMBER.fullmatch(name):
                raise ValueError(f"it holds {name[:60]!r}, more than a program and its tensors")
            if not name.endswith(".json"):
                continue
            if member.file_size > _JSON_BYTES:
                raise ValueError(f"{name!r} in it has {member.file_size} bytes")
            content = archive.read(member)
            if name.endswith(f"/{FACTS}.json"):
                facts = content.decode()
            else:
                _check_json(parse_json(content, f"weights {path}: {name}", _FIX))
    if facts is None:
        raise ValueError(f"it has no {FACTS}.json: it was not exported by this project")
    return facts


def _check_json(value: Any) -> None:
    for entry in _entries(value):
        if entry.get("guards_code") or entry.get("treespec_namedtuple_fields"):
            raise ValueError("it holds code, more than a program and its tensors")
        if "target" in entry and "inputs" in entry and entry["target"] not in OPERATORS:
            raise ValueError(
                f"it uses {shown(entry['target'])}, which is no operator of this project's networks"
            )
        for key in ("expr_str", "in_spec", "out_spec"):
            text = entry.get(key)
            if isinstance(text, str) and not (
                _is_size(text) if key == "expr_str" else _is_nesting(text)
            ):
                what, fault = (
                    ("size", "no arithmetic")
                    if key == "expr_str"
                    else ("nesting", "not of plain tuples, lists and dicts")
                )
                raise ValueError(f"it holds the {what} {text[:60]!r}, which is {fault}")


def _is_size(text: str) -> bool:
    return (
        len(text) < 10_000
        and _SIZE.fullmatch(text) is not None
        and "**" not in text
        and all(map(_SIZE_WORDS.fullmatch, re.findall(r"\w+", text)))
    )


def _is_nesting(text: str) -> bool:
    try:
        entries = list(_entries(parse_json(text, "nesting", _FIX)))
    except InputError:
        return False
    return all(
        entry.get("type") in _CONTAINERS and entry.get("context") in {None, "null", "[]"}
        for entry in entries
    )


def _entries(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every mapping in JSON, also within others."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
