"""Make what a data set does not ship: image-level labels, class names and train_aug (VOC); lists
and masks (COCO)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from smaf.core.command import make_parser, run_command
from smaf.core.errors import InputError, MissingInputError
from smaf.core.files import require_file
from smaf.data.prepare.coco import prepare_coco
from smaf.data.prepare.coco_annotations import annotation_files
from smaf.data.prepare.voc import prepare_voc


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command with `argv`, the command line's words where it is None."""
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
    args = parser.parse_args(argv)
    root: Path = args.root
    if not root.is_dir():
        raise MissingInputError(
            f"data set {root} does not exist: name the folder that you unpacked it to"
        )
    if args.num_workers < 0:
        raise InputError(f"--num_workers {args.num_workers}: expected 0 or more")
    class_names: Path | None = args.class_names
    if class_names and not class_names.exists() and not class_names.is_absolute():
        class_names = root / class_names
    if class_names:
        require_file(class_names, "class-name file", "name another with --class_names")
    coco = args.dataset == "coco" or (args.dataset == "auto" and bool(annotation_files(root)))
    if coco and class_names:
        raise InputError(
            "--class_names: COCO's class names come from its annotations: leave the option out, or "
            "use --dataset voc"
        )
    print(
        prepare_coco(root, overwrite=args.overwrite, num_workers=args.num_workers)
        if coco
        else prepare_voc(
            root, class_names=class_names, overwrite=args.overwrite, num_workers=args.num_workers
        )
    )


if __name__ == "__main__":
    raise SystemExit(run_command(main))
