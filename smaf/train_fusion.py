"""Stage 2: self-train the classifier on its fused maps, denoised and reactivated."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from smaf import options
from smaf.core.command import make_parser, run_command
from smaf.core.device import choose_device, seed_everything
from smaf.core.errors import InputError
from smaf.engine.distributed import process_group
from smaf.engine.self_training import RECTIFY, SelfTrainingSettings, train_fusion


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser, default = make_parser("train_fusion", __doc__ or ""), SelfTrainingSettings()
    options.add_data_options(parser, list_name="train_aug")
    group = parser.add_argument_group("self-training")
    group.add_argument(
        "--weights",
        default=str(options.LOGDIR / "eps_cls_mode" / "classifier.pth"),
        help="stage 0's classifier, or EPS's published checkpoint",
    )
    group.add_argument(
        "--head",
        default=options.AUTO,
        choices=(options.AUTO, "smaf", "eps"),
        help="auto: the weights' own; smaf turns an EPS head into SMAF's with the same CAMs",
    )
    group.add_argument(
        "--cam_dir",
        default=str(options.LOGDIR / "cam_o_vec"),
        help="stage 1's fused maps (or .npy)",
    )
    group.add_argument(
        "--background",
        type=float,
        default=default.background,
        help="background constant of the target",
    )
    group.add_argument(
        "--soft_background",
        action="store_true",
        help="background is what the maps leave to 1, not the constant: for those of refine_fusion",
    )
    group.add_argument(
        "--loss_weight", type=float, default=default.weight, help="factor of the loss"
    )
    group.add_argument(
        "--no_denoise",
        action="store_true",
        help="ablation: no label filter, no background constant",
    )
    group.add_argument(
        "--no_reactivate", action="store_true", help="ablation: fused maps as they are"
    )
    group = parser.add_argument_group("ProDA's parts (off, as in the release)")
    group.add_argument(
        "--rectify", default=default.rectify, choices=RECTIFY, help="weigh fused maps by prototypes"
    )
    group.add_argument(
        "--moving_prototype",
        action="store_true",
        help="let prototypes follow the teacher's features",
    )
    group.add_argument(
        "--prototype_momentum", type=float, default=default.prototype_momentum, help="of their move"
    )
    group.add_argument(
        "--ema",
        action="store_true",
        help="the teacher follows the student, and is saved as classifier_ema.pth",
    )
    group.add_argument(
        "--ema_decay", type=float, default=default.ema_decay, help="its decay a step"
    )
    options.add_training_options(parser, jitter=False)
    options.add_run_options(parser, out=str(options.LOGDIR / "proda_model"))
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = options.checked(build_parser().parse_args(argv))
    settings = SelfTrainingSettings(
        background=args.background,
        weight=args.loss_weight,
        denoise=not args.no_denoise,
        reactivate=not args.no_reactivate,
        rectify=args.rectify,
        ema=args.ema,
        soft_background=args.soft_background,
        centres=args.cells == "centres",
        ema_decay=args.ema_decay,
        moving_prototype=args.moving_prototype,
        prototype_momentum=args.prototype_momentum,
    )
    device = choose_device(args.device)
    data = options.data_from(args)
    seed_everything(args.seed)
    model = options.trained_classifier(args.weights, data, head=args.head)
    if model.head == "cls":
        raise InputError(
            f"weights {args.weights} are a plain-CAM network without a background channel: "
            "self-training needs stage 0 with --network eps"
        )
    with process_group(device):
        train_fusion(
            options.prepare_training(model, args),
            data,
            list_name=args.list,
            cam_dir=Path(args.cam_dir),
            settings=settings,
            augmentation=options.augmentation_from(args),
            seed=args.seed,
            loop=options.loop_from(args),
            folder=options.folder_from(args),
            facts=options.facts_from(args, data),
            device=device,
            val_list=args.val_list,
            val_long_side=args.val_long_side,
        )


if __name__ == "__main__":
    raise SystemExit(run_command(main))
