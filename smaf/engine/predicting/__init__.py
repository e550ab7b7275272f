"""This package predicts masks of photographs that belong to no data set.

It holds networks behind one face for ONNX Runtime and PyTorch, the run over many photographs, and
the face for Python. Importing this package starts neither runtime: PyTorch takes seconds, which
ONNX files do without.
"""

from smaf.engine.predicting.network import Network
from smaf.engine.predicting.opening import open_network, shipped_weights

__all__ = ["Network", "open_network", "shipped_weights"]
