"""Open a network by the name of shipped weights, or by its file."""

from __future__ import annotations

from pathlib import Path

from smaf.core.errors import InputError
from smaf.engine.predicting.network import Network

_WEIGHTS = Path(__file__).resolve().parents[2] / "weights"
_SALIENCY = "saliency_"  # begins the names of networks that find what is salient, not classes


def shipped_weights() -> dict[str, Path]:
    """The networks that the package ships to make masks, by name.

    Each path is that of the `.onnx` file; `.pth` and the model card `.md` lie beside it.
    """
    files = sorted(_WEIGHTS.glob("*.onnx"))
    return {path.stem: path for path in files if not path.stem.startswith(_SALIENCY)}


def shipped_saliency() -> dict[str, Path]:
    """The networks that the package ships to find what is salient, by name."""
    return {path.stem: path for path in sorted(_WEIGHTS.glob(f"{_SALIENCY}*.onnx"))}


def open_network(
    weights: str, device: str = "auto", precision: str = "fp32", *, threads: int | None = None
) -> Network:
    """Open shipped weights by name, or a network's file.

    Args:
        weights: a name of :func:`shipped_weights`, or a file: `.onnx` is run by ONNX Runtime on the
            CPU, `.pt2` and every checkpoint by PyTorch on `device`.
        device: `"auto"`, `"cpu"`, or another that PyTorch knows; shipped weights are run by PyTorch
            where it is neither `"auto"` nor `"cpu"`.
        precision: of a checkpoint, `"fp32"` or what :func:`smaf.core.device.autocast` knows.
        threads: CPU threads of its operations; None: as many as its runtime takes.

    Raises:
        InputError: the file is no network of this project, or an ONNX file is to run elsewhere than
            on the CPU.
    """
    # Runtimes are imported where they are needed: PyTorch takes seconds to start
    path = shipped_weights().get(weights, Path(weights))
    if path.suffix == ".onnx" and device in {"auto", "cpu"}:
        from smaf.engine.predicting.onnx_network import OnnxNetwork

        return OnnxNetwork(path, threads=threads)
    if path.suffix == ".onnx" and weights in shipped_weights():
        path = path.with_suffix(".pth")
    elif path.suffix == ".onnx":
        raise InputError(
            f"--device {device}: ONNX files run on the CPU; name the .pth file they were made from"
        )
    if path.suffix == ".pt2":
        from smaf.engine.predicting.program_network import ProgramNetwork

        return ProgramNetwork(path, device, threads=threads)
    from smaf.engine.predicting.torch_network import TorchNetwork

    return TorchNetwork(path, device, precision, threads=threads)
