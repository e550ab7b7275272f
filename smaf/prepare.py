"""Make what VOC and COCO do not ship: image-level labels, class names, lists and masks."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from smaf.core.command import make_parser, run_command
from smaf.core.errors import InputError, MissingInputError
from smaf.core.files import require_file
from smaf.core.options import NOT_NEGATIVE, Options, add_options, option, plan_from
from smaf.data.prepare.coco import prepare_coco
from smaf.data.prepare.coco_annotations import annotation_files
from smaf.data.prepare.voc import prepare_voc


@dataclass(frozen=True)
class PrepareOptions(Options):
    """What is made of which data set."""

    GROUP: ClassVar[str] = "preparation"

    dataset: str = option(
        "auto",
        "auto: coco where annotations/instances_*.json exist, voc otherwise",
        choices=("auto", "voc", "coco"),
    )
    class_names: str | None = option(
        None,
        "class names of your own data set in VOC layout, one a line (default: "
        "ROOT/metadata/*/labels.txt, else VOC's 20)",
    )
    overwrite: bool = option(False, "make files anew that are there; they are kept otherwise")
    num_workers: int = option(
        min(4, os.cpu_count() or 1),
        "processes that read and write masks; 0 or 1: none beside this one",
        within=NOT_NEGATIVE,
    )


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all options."""
    parser = make_parser("prepare", __doc__ or "")
    parser.add_argument(
        "root",
        type=Path,
        help="the data set: the folder that holds JPEGImages (VOC) or annotations (COCO)",
    )
    add_options(parser, PrepareOptions())
    return parser


def _class_name_file(root: Path, asked: str | None) -> Path | None:
    """Return the class-name file that was asked for, as it is named or below the data set."""
    if asked is None:
        return None
    path = Path(asked)
    path = path if path.exists() or path.is_absolute() else root / path
    require_file(path, "class-name file", "name another with --class_names")
    return path


def main(argv: Sequence[str] | None = None) -> None:
    """Carry out the command with the words `argv`, by default those of the command line."""
    args = build_parser().parse_args(argv)
    options, root = plan_from(PrepareOptions(), args), Path(args.root)
    if not root.is_dir():
        raise MissingInputError(
            f"data set {root} does not exist: name the folder that you unpacked it to"
        )
    class_names = _class_name_file(root, options.class_names)
    coco = options.dataset == "coco" or (options.dataset == "auto" and bool(annotation_files(root)))
    if coco and class_names:
        raise InputError(
            "--class_names: COCO's class names come from its annotations: leave the option out, or "
            "use --dataset voc"
        )
    overwrite, workers = options.overwrite, options.num_workers
    if coco:
        print(prepare_coco(root, overwrite=overwrite, num_workers=workers))
    else:
        print(prepare_voc(root, class_names=class_names, overwrite=overwrite, num_workers=workers))


if __name__ == "__main__":
    raise SystemExit(run_command(main))
