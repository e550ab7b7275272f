"""The console command `smaf`: its subcommands are the entry scripts."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence

import smaf
from smaf.core.command import run_command
from smaf.core.terminal import end_with_launcher, stop_at_once

COMMANDS = {
    "init": "make a data set of a folder of photographs and their labels",
    "prepare": "make labels, lists and masks that VOC and COCO do not ship",
    "run": "all stages: masks of all photographs, a network, a report",
    "report": "a page of a run, or of several side by side",
    "saliency": "before stage 0: saliency maps, with the network that ships or another",
    "train_eps": "stage 0: train the EPS classifier, or plain CAM",
    "gen_fusion": "stage 1: fuse CAMs over scales and flips",
    "refine_fusion": "between them: refine fused maps by edges and saliency",
    "train_fusion": "stage 2: denoise, reactivate, self-train",
    "average_maps": "before stage 3: the mean of the fused maps of several networks",
    "gen_pm": "stage 3: write pseudo masks, with CRF where asked",
    "vote_regions": "after it: mend masks by regions of other photographs",
    "train_seg": "stage 4: train a segmentation network on pseudo masks",
    "test_seg": "stage 4: segment a list, with CRF where asked, and evaluate",
    "predict": "masks of any photographs, with the weights that ship",
    "export": "masks to annotation tools, to be corrected there",
    "import": "corrected masks back into the data set",
    "evaluate": "mIoU and more against true masks",
    "demo": "init, run and predict on rendered photographs, with a report",
}

# Where a package, or Python itself, has the command's name
_MODULES = {"report": "gen_report", "import": "import_masks"}


def main() -> int:
    """Run `smaf COMMAND …`; return the exit status."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] in COMMANDS:
        stop_at_once()
        end_with_launcher()
        return run_command(_entry(arguments[0]), arguments[1:])
    about = (smaf.__doc__ or "").splitlines()[0].removeprefix("SMAF: ")
    lines = [f"smaf {smaf.__version__}: {about}", "", "usage: smaf COMMAND [options]", ""] + [
        f"  {name:<13} {what}" for name, what in COMMANDS.items()
    ]
    if arguments in (["--version"], ["-V"]):
        lines = [f"smaf {smaf.__version__}"]
    known = not arguments or arguments[0] in {"-h", "--help", "--version", "-V"}
    if not known:
        lines = [f"error: unknown command {arguments[0]!r}: expected one of {', '.join(COMMANDS)}"]
    print("\n".join(lines), file=sys.stdout if known else sys.stderr)
    return 0 if known else 2


def module_of(command: str) -> str:
    """The module of a command's entry script."""
    return f"smaf.{_MODULES.get(command, command)}"


def _entry(command: str) -> Callable[[Sequence[str] | None], None]:
    entry: Callable[[Sequence[str] | None], None] = importlib.import_module(module_of(command)).main
    return entry


if __name__ == "__main__":
    raise SystemExit(main())
