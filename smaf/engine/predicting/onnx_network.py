"""Networks in ONNX files, run by ONNX Runtime on the CPU."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from smaf.core.errors import InputError
from smaf.core.files import require_file
from smaf.core.network_facts import FACTS, NAME_ANOTHER, parse_facts
from smaf.core.onnx_weights import check_onnx_weights
from smaf.engine.predicting.network import Network, first_line


class OnnxNetwork(Network):
    """A network that :func:`smaf.models.export.export_onnx` wrote.

    It starts in a tenth of the time that PyTorch takes. Raises :class:`InputError` where the file
    is damaged, was not exported by this project, or is a graph of other inputs and outputs.
    """

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        import onnxruntime

        content = require_file(path, "weights", NAME_ANOTHER).read_bytes()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or _share()
        # Spinning threads gain 3 % alone; beside a busy process they double the time
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            check_onnx_weights(content)
            self.session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
            text = self.session.get_modelmeta().custom_metadata_map.get(FACTS)
        except Exception as error:  # a damaged file raises one of the runtime's dozen own types
            raise InputError(
                f"weights {path} cannot be read as ONNX ({first_line(error)}): {NAME_ANOTHER}"
            ) from error
        if text is None:
            raise InputError(f"weights {path} were not exported by this project: {NAME_ANOTHER}")
        self.facts = parse_facts(text, f"weights {path}")
        self._check_graph(path)
        self._check_run(path)

    def _check_graph(self, path: Path) -> None:
        """Refuse a graph without the one input and one output, of any size, that export writes."""
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        output = "logits" if self.segments else "cam"
        for entries, name in ((inputs, "images"), (outputs, output)):
            found = ", ".join(f"{entry.name} {entry.type} {entry.shape}" for entry in entries)
            if (
                len(entries) != 1
                or (entries[0].name, entries[0].type) != (name, "tensor(float)")
                or len(entries[0].shape) != 4
            ):
                raise InputError(
                    f"weights {path} have {found[:200]}, expected {name} tensor(float) of 4 "
                    f"dimensions: {NAME_ANOTHER}"
                )
        if inputs[0].shape[1] != 3 or any(
            isinstance(inputs[0].shape[axis], int) for axis in (0, 2, 3)
        ):
            raise InputError(
                f"weights {path} take images of {inputs[0].shape}, expected any number of 3 "
                f"channels and any size: {NAME_ANOTHER}"
            )

    def logits(self, images: np.ndarray) -> np.ndarray:
        """(n, 3, h, w) float32 images → the network's own logits, run by ONNX Runtime."""
        return np.asarray(self.session.run(None, {"images": images})[0])


def _share() -> int:
    """The threads of one of many processes, which share the cores; 0, as many as cores, of one."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    many = os.environ.get("WORLD_SIZE", "1") != "1"
    return int(threads) if many and threads.isdecimal() else 0
