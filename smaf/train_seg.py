"""Stage 4: train a segmentation network on pseudo masks, DeepLab-V2's recipe."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from smaf import options
from smaf.core.command import make_parser, run_command
from smaf.core.device import choose_device, seed_everything
from smaf.engine.distributed import process_group
from smaf.engine.loop import LoopSettings
from smaf.engine.optim import OptimSettings
from smaf.engine.segmentation import SegmentationTask, train_seg
from smaf.models import DEEPLAB, IMAGENET, build_segmenter

PUBLISHED = LoopSettings(
    batch_size=5, accumulate=2, optim=OptimSettings(lr=2.5e-4, momentum=0.9, rate_every=10)
)


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = make_parser("train_seg", __doc__ or "")
    options.add_data_options(parser, list_name="train_aug")
    group = parser.add_argument_group("targets")
    group.add_argument(
        "--target_dir",
        default=f"{options.DATA_ROOT}/pseudo_mask/fused",
        help="stage 3's masks <id>.png, values 0..C or 255 (ignored)",
    )
    group.add_argument(
        "--true_masks",
        action="store_true",
        help="train on the data set's true masks instead: the upper bound, not weak supervision",
    )
    group = parser.add_argument_group("network")
    group.add_argument(
        "--network", default=DEEPLAB, help=f"{DEEPLAB}, or any timm model (tf_efficientnet_lite0)"
    )
    group.add_argument(
        "--weights",
        default=IMAGENET,
        help=(
            "imagenet (installed, or fetched), none, or a file: COCO or ImageNet weights, a "
            "classifier with this backbone, or a whole network"
        ),
    )
    group.add_argument(
        "--output_stride",
        type=int,
        choices=(8, 16),
        help=f"default: 8 for {DEEPLAB}, 16 for timm's",
    )
    group.add_argument(
        "--loss_at",
        default="logits",
        choices=("logits", "quarter"),
        help=(
            "where logits and mask are compared: at the logits' size as published, or at a "
            "quarter of the crop"
        ),
    )
    group = parser.add_argument_group("training")
    options.add_loop_options(group, PUBLISHED, momentum="SGD's momentum")
    group.add_argument(
        "--rate_every",
        type=int,
        default=PUBLISHED.optim.rate_every,
        help="steps between changes of the rate",
    )
    group.add_argument(
        "--scale",
        type=float,
        nargs=2,
        default=[0.5, 1.5],
        metavar=("MIN", "MAX"),
        help="range of the factor of the photograph's size",
    )
    group.add_argument(
        "--resize_long",
        type=int,
        nargs=2,
        metavar=("MIN", "MAX"),
        help="range of the photograph's longer side, instead of --scale",
    )
    group.add_argument("--crop", type=int, default=321, help="side of the square crop, in pixels")
    group.add_argument("--jitter", action="store_true", help="colour jitter, as in stage 0")
    options.add_course_options(group, PUBLISHED)
    options.add_run_options(parser, out=str(options.LOGDIR / "segmenter"))
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = options.checked(build_parser().parse_args(argv))
    device = choose_device(args.device)
    data = options.data_from(args)
    seed_everything(args.seed)
    options.check_start(args.weights, data)
    model = build_segmenter(
        args.network,
        num_classes=data.num_classes + 1,
        pretrained=None if args.weights == "none" else args.weights,
        output_stride=args.output_stride,
    )
    with process_group(device):
        train_seg(
            options.prepare_training(model, args),
            data,
            list_name=args.list,
            target_dir=None if args.true_masks else Path(args.target_dir),
            task=SegmentationTask(fine=args.loss_at == "quarter"),
            augmentation=options.augmentation_from(args),
            seed=args.seed,
            settings=options.loop_from(args),
            folder=options.folder_from(args),
            facts=options.facts_from(args, data, labels=False),
            device=device,
            val_list=args.val_list,
            val_long_side=args.val_long_side,
        )


if __name__ == "__main__":
    raise SystemExit(run_command(main))
