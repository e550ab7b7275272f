"""Time and peak memory of ResNet-38 at full size: one step of stages 0 and 2, and stage 1 on one
500×375 photograph.

Run one part a process, so that peak memory is its own:
    python benchmarks/resnet38.py eps_step
    python benchmarks/resnet38.py self_training_step
    python benchmarks/resnet38.py fusion
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from smaf.core.device import DEVICES, choose_device, seed_everything
from smaf.engine.stages.train_eps import EpsTask
from smaf.engine.stages.train_fusion import SelfTrainingSettings, SelfTrainingTask
from smaf.engine.training.loop import Task
from smaf.engine.training.optim import OptimSettings, make_optimiser, parameter_groups
from smaf.models import Classifier, build_classifier
from smaf.models.classifier import HEAD_MODULES
from smaf.ops import fuse_cams

CROP, CLASSES = 448, 20


def train_step(
    model: Classifier, task: Task, batch: dict[str, torch.Tensor]
) -> Callable[[], object]:
    """One step of the optimiser on a batch, as a function."""
    settings = OptimSettings()
    optimiser = make_optimiser(
        parameter_groups(model.train(), settings, head=HEAD_MODULES), settings
    )

    def step() -> None:
        loss, _ = task.loss(model, batch)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def work(
    part: str, model: Classifier, batch_size: int, device: torch.device
) -> Callable[[], object]:
    """What is timed."""
    labels = torch.zeros(batch_size, CLASSES, device=device)
    labels[:, 7] = labels[:, 14] = 1.0
    image = torch.randn(batch_size, 3, CROP, CROP, device=device).contiguous(
        memory_format=torch.channels_last
    )
    if part == "eps_step":
        saliency = torch.rand(batch_size, 1, CROP, CROP, device=device)
        return train_step(
            model, EpsTask(), {"image": image, "labels": labels, "saliency": saliency}
        )
    if part == "self_training_step":
        fused = torch.rand(batch_size, CLASSES, CROP // 4, CROP // 4, device=device)
        task = SelfTrainingTask(model, SelfTrainingSettings(), None)
        return train_step(model, task, {"image": image, "labels": labels, "fused": fused})
    photo = Image.fromarray(
        np.random.default_rng(0).integers(0, 255, (375, 500, 3), dtype=np.uint8)
    )
    return lambda: fuse_cams(model.eval(), photo, labels[0])


def main() -> None:
    """Run one part and print its figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("eps_step", "self_training_step", "fusion"))
    parser.add_argument(
        "--batch_size", type=int, default=8, help="photographs a step (published: 8)"
    )
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--device", default="auto", choices=DEVICES)
    args = parser.parse_args()
    seed_everything(0)
    device = choose_device(args.device)
    model = (
        build_classifier("resnet38", num_classes=CLASSES)
        .to(device)
        .to(memory_format=torch.channels_last)
    )
    run = work(args.part, model, args.batch_size, device)
    for _ in range(args.repeat):
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"{args.part}: {seconds:.1f} s, peak memory {peak:.1f} GiB, {device}, "
            f"{torch.get_num_threads()} threads, batch {args.batch_size}",
            flush=True,
        )


if __name__ == "__main__":
    main()
