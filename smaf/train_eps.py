"""Stage 0: train the EPS classifier on image labels and saliency maps, or the plain-CAM baseline on
labels alone."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from smaf import options
from smaf.core.command import make_parser, run_command
from smaf.core.device import choose_device, seed_everything
from smaf.engine.distributed import process_group
from smaf.engine.eps import EpsTask, train_eps
from smaf.models import IMAGENET, RESNET38, build_classifier


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = make_parser("train_eps", __doc__ or "")
    options.add_data_options(parser, list_name="train_aug")
    group = parser.add_argument_group("network")
    group.add_argument(
        "--network",
        default="eps",
        choices=("eps", "cls"),
        help="eps, or cls: plain CAM, no saliency",
    )
    group.add_argument(
        "--backbone", default=RESNET38, help="resnet38, or any timm model (tf_efficientnet_lite0)"
    )
    group.add_argument(
        "--head", default="smaf", choices=("smaf", "eps"), help="head of --network eps"
    )
    group.add_argument(
        "--output_stride", type=int, choices=(8, 16), help="default: 8 for resnet38, 16 for timm's"
    )
    group.add_argument(
        "--weights",
        default=IMAGENET,
        help="imagenet (installed, or fetched by timm), none, or a file",
    )
    group.add_argument(
        "--tau",
        type=float,
        default=0.4,
        help="EPS: overlap above which a labelled class is salient",
    )
    group.add_argument(
        "--lam", type=float, default=0.5, help="EPS: share of the foreground estimate"
    )
    options.add_training_options(parser, jitter=True)
    options.add_run_options(parser, out=str(options.LOGDIR / "eps_cls_mode"))
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = options.checked(build_parser().parse_args(argv))
    device = choose_device(args.device)
    data = options.data_from(args)
    seed_everything(args.seed)
    model = build_classifier(
        args.backbone,
        num_classes=data.num_classes,
        head="cls" if args.network == "cls" else args.head,
        pretrained=None if args.weights == "none" else args.weights,
        output_stride=args.output_stride,
    )
    task = EpsTask(
        tau=args.tau, lam=args.lam, saliency=args.network == "eps", centres=args.cells == "centres"
    )
    with process_group(device):
        train_eps(
            options.prepare_training(model, args),
            data,
            list_name=args.list,
            task=task,
            augmentation=options.augmentation_from(args),
            seed=args.seed,
            settings=options.loop_from(args),
            folder=options.folder_from(args),
            facts=options.facts_from(args, data),
            device=device,
            val_list=args.val_list,
            val_long_side=args.val_long_side,
        )


if __name__ == "__main__":
    raise SystemExit(run_command(main))
