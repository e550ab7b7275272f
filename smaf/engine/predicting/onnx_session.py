"""Opening an ONNX file in ONNX Runtime, on the CPU: whole, with finite weights, one file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from smaf.core.errors import InputError
from smaf.core.files import require_file
from smaf.core.onnx_weights import check_onnx_weights
from smaf.engine.predicting.network import first_line


def open_session(path: Path, what: str, fix: str, *, threads: int | None = None) -> Any:
    """An `onnxruntime.InferenceSession` of the file of `what`.

    `threads` are those of its operations; None: as many as cores, or this process's share of them.
    Raises :class:`InputError` where the file is missing, damaged, or asks for what the runtime does
    not have; `fix` is what the user can do.
    """
    import onnxruntime

    content = require_file(path, what, fix).read_bytes()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or _share()
    # Spinning threads gain 3 % alone; beside a busy process they double the time
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        check_onnx_weights(content)
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # a damaged file raises one of the runtime's dozen own types
        raise InputError(
            f"{what} {path} cannot be read as ONNX ({first_line(error)}): {fix}"
        ) from error


def shown_entries(entries: Any) -> str:
    """A graph's inputs or outputs for an error message."""
    return ", ".join(f"{entry.name} {entry.type} {entry.shape}" for entry in entries)[:200]


def _share() -> int:
    """The threads of one of many processes, which share the cores; 0, as many as cores, of one."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    many = os.environ.get("WORLD_SIZE", "1") != "1"
    return int(threads) if many and threads.isdecimal() else 0
