"""Make what VOC and COCO do not ship: image-level labels, class names, lists and masks."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from smaf.core.command import make_parser, run_command
from smaf.core.errors import InputError, MissingInputError
from smaf.core.files import require_file
from smaf.data.prepare.coco import prepare_coco
from smaf.data.prepare.coco_annotations import annotation_files
from smaf.data.prepare.voc import prepare_voc


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all options."""
    parser = make_parser("prepare", __doc__ or "")
    parser.add_argument(
        "root",
        type=Path,
        help="the data set: the folder that holds JPEGImages (VOC) or annotations (COCO)",
    )
    parser.add_argument(
        "--dataset",
        choices=("auto", "voc", "coco"),
        default="auto",
        help="auto: coco where annotations/instances_*.json exist, voc otherwise",
    )
    parser.add_argument(
        "--class_names",
        type=Path,
        help="class names of your own data set in VOC layout, one a line (default: "
        "ROOT/metadata/*/labels.txt, else VOC's 20)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="make files anew that are there; they are kept otherwise",
    )
    parser.add_argument(
        "--num_workers",
        type=int,
        default=min(4, os.cpu_count() or 1),
        help="processes that read and write masks; 0 or 1: none beside this one",
    )
    return parser


def _class_name_file(root: Path, asked: Path | None) -> Path | None:
    """Return the class-name file that was asked for, as it is named or below the data set."""
    if asked is None:
        return None
    path = asked if asked.exists() or asked.is_absolute() else root / asked
    require_file(path, "class-name file", "name another with --class_names")
    return path


def main(argv: Sequence[str] | None = None) -> None:
    """Carry out the command with the words `argv`, by default those of the command line."""
    args = build_parser().parse_args(argv)
    root: Path = args.root
    if not root.is_dir():
        raise MissingInputError(
            f"data set {root} does not exist: name the folder that you unpacked it to"
        )
    if args.num_workers < 0:
        raise InputError(f"--num_workers {args.num_workers}: expected 0 or more")
    class_names = _class_name_file(root, args.class_names)
    coco = args.dataset == "coco" or (args.dataset == "auto" and bool(annotation_files(root)))
    if coco and class_names:
        raise InputError(
            "--class_names: COCO's class names come from its annotations: leave the option out, or "
            "use --dataset voc"
        )
    how = {"overwrite": args.overwrite, "num_workers": args.num_workers}
    print(prepare_coco(root, **how) if coco else prepare_voc(root, class_names=class_names, **how))


if __name__ == "__main__":
    raise SystemExit(run_command(main))
