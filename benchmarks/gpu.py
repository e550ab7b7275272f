"""The stages on a machine with CUDA: that they run, agree with the CPU, and what they need.

Stages 0 to 4 run by their commands on the rendered demo set, in fp32, bf16 and fp16. Fused maps and
losses are compared with the CPU's, in fp32 also as CUDA's convolutions come, with TF32. PyTorch's
launcher runs stages 0 and 1 in as many processes as there are GPUs, over NCCL. Then time and peak
memory of ResNet-38 and DeepLab-V2 at the published sizes.

    python benchmarks/gpu.py --out gpu.json --markdown gpu.md
    python benchmarks/gpu.py --device cpu --quick    # a test of this script, two processes
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import gpu_parts
import machine
import torch
from gpu_parts import Entry, Extent, Place

from smaf.core.command import run_command
from smaf.core.device import PRECISIONS, choose_device
from smaf.core.errors import InputError
from smaf.core.files import write_json, write_text


def _needs(entry: Entry) -> list[str]:
    """An entry's cells of time and memory."""
    peak = entry["peak"]
    return [f"{entry['seconds']:.3f} s", "–" if peak is None else f"{peak / 2**30:.2f} GiB"]


def report(results: dict[str, list[Entry]]) -> str:
    """The results as Markdown."""
    stages = [[e["command"], e["precision"], *_needs(e)] for e in results["stages"]]
    checks = [
        [e["what"], f"{e['apart']:.1e}", f"{e['limit']:g}", "yes" if e["same"] else "no"]
        for e in results["checks"]
    ]
    sizes = [[e["what"], e["precision"], *_needs(e)] for e in results["sizes"]]
    needs = ("precision", "time", "peak memory")
    return "\n\n".join(
        [
            machine.markdown(("command, demo set", *needs), stages),
            machine.markdown(("compared with the CPU", "apart", "at most", "same"), checks),
            machine.markdown(("published sizes", *needs), sizes),
        ]
    )


def measure(place: Place, processes: int) -> dict[str, list[Entry]]:
    """All parts, one after the other."""
    place.render()
    results: dict[str, list[Entry]] = {"stages": [], "checks": [], "sizes": []}
    for precision in PRECISIONS:
        results["stages"] += gpu_parts.stages(place, precision)
    results["checks"] += gpu_parts.compare_maps(place)
    results["checks"] += gpu_parts.compare_losses(place)
    results["checks"] += gpu_parts.compare_launched(place, processes)
    for precision in place.extent.precisions:
        for entry in gpu_parts.sizes(place, precision):
            print(f"{entry['what']}, {precision}: {entry['seconds']:.3f} s", file=sys.stderr)
            results["sizes"].append(entry)
    return results


def _device_facts(device: torch.device) -> tuple[str, int]:
    """The device in words, and how many processes the launcher starts."""
    if device.type != "cuda":
        return "the CPU, two processes over gloo", 2
    count = torch.cuda.device_count()
    alone = "; one process, so NCCL has nothing to do" if count == 1 else ""
    return f"{count} × {torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}{alone}", count


def main(argv: Sequence[str] | None = None) -> None:
    """Run all parts and write their tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--quick", action="store_true", help="tiny sizes: a test of this script")
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--markdown", type=Path, help="Markdown file")
    args = parser.parse_args(argv)
    device, started = choose_device(args.device), time.monotonic()
    facts, (said, processes) = machine.facts(), _device_facts(device)
    with tempfile.TemporaryDirectory(prefix="smaf-gpu-") as folder:
        place = Place(device, Path(folder), gpu_parts.QUICK if args.quick else Extent())
        results = measure(place, processes)
    minutes = (time.monotonic() - started) / 60
    head = machine.head(facts, f"Device: {said}. Measured in {minutes:.1f} minutes.")
    text = f"{head}\n{report(results)}\n"
    if args.out:
        write_json(args.out, {**facts, "device": said, **results})
    if args.markdown:
        write_text(args.markdown, text)
    print(text)
    apart = [entry["what"] for entry in results["checks"] if not entry["same"]]
    if apart:
        raise InputError(f"not the same as on the CPU: {', '.join(apart)}")


if __name__ == "__main__":
    raise SystemExit(run_command(main))
