"""Train the saliency network that ships, from a strong detector's maps of any photographs.

`--pairs PHOTOGRAPHS=MAPS …` names folders of photographs and, by stem, of the teacher's maps;
photographs without a map are passed over. `--keep_out FILE` lists stems that are not trained on. A
stopped training goes on.

    python benchmarks/saliency_network.py --out smaf/logdir/saliency \
        --pairs photographs=maps dataset/VOC2012/JPEGImages=dataset/VOC2012/SALImages
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from smaf.core.command import run_command
from smaf.core.errors import InputError
from smaf.core.files import files_by_stem, write_json
from smaf.core.images import IMAGE_SUFFIXES, find_images, read_image, read_saliency
from smaf.core.tensors import normalise_planes, planes_of
from smaf.data.augment import jitter_colours
from smaf.engine.training.state import random_states, read_state, set_random_states, write_state
from smaf.models.saliency import MEAN, STD, SaliencyNetwork, export_saliency

SIDES = (224, 256, 288, 320)  # of a batch's square crops
JITTER = (0.3, 0.3, 0.3, 0.05)


class Crops(Dataset[tuple[Tensor, Tensor]]):
    """Sample k: most of a photograph, squeezed to a square, and the same of its map."""

    def __init__(self, pairs: Sequence[tuple[Path, Path]], *, batch: int, seed: int) -> None:
        self.pairs, self.batch, self.seed = pairs, batch, seed

    def __getitem__(self, k: int) -> tuple[Tensor, Tensor]:
        """(3, S, S) normalised and (1, S, S) in 0..1; S is the same over a batch."""
        epoch, place = divmod(k, len(self.pairs))
        order = np.random.default_rng((self.seed, 0, epoch)).permutation(len(self.pairs))
        side = int(np.random.default_rng((self.seed, 2, k // self.batch)).choice(SIDES))
        rng = np.random.default_rng((self.seed, 1, k))
        photo_path, map_path = self.pairs[order[place]]
        photo = read_image(photo_path, needed=lambda size: size)
        saliency = read_saliency(map_path, size=photo.size)
        box = draw_box(rng, photo.size)
        planes = planes_of(photo.resize((side, side), resample=2, box=box))
        target = planes_of(saliency.resize((side, side), resample=2, box=box).convert("RGB"))[:1]
        if rng.random() < 0.5:
            planes, target = planes.flip(2), target.flip(2)
        image = normalise_planes(jitter_colours(rng, planes, JITTER), MEAN, STD)
        return image, target.float() / 255.0


def draw_box(rng: np.random.Generator, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Half of a photograph's area at least, at an aspect of 3/4 to 4/3 of its own; mostly more."""
    area, stretch = rng.uniform(0.4, 1.0), math.exp(rng.uniform(-0.28, 0.28))
    w = size[0] * min(1.0, math.sqrt(area * stretch))
    h = size[1] * min(1.0, math.sqrt(area / stretch))
    left, top = rng.uniform(0, size[0] - w), rng.uniform(0, size[1] - h)
    return left, top, left + w, top + h


def saliency_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy plus 1 - soft IoU of each map (Qin et al., CVPR 2019, without SSIM)."""
    chance = torch.sigmoid(logits)
    both = (chance * target).sum(dim=(1, 2, 3))
    either = (chance + target - chance * target).sum(dim=(1, 2, 3))
    # A map without anything salient has no IoU: cross-entropy alone teaches it
    shown = target.mean(dim=(1, 2, 3)).gt(0.005).float()
    overlap = (1.0 - (both + 1.0) / (either + 1.0)) * shown
    return F.binary_cross_entropy_with_logits(logits, target) + overlap.mean()


def pairs_of(folders: Sequence[str], kept_out: set[str]) -> list[tuple[Path, Path]]:
    """The photographs of `PHOTOGRAPHS=MAPS` that have a map, in the order of their names."""
    pairs = []
    for text in folders:
        photographs, _, maps = text.partition("=")
        stems = sorted(files_by_stem(Path(maps)))
        found = find_images([Path(photographs)], stems, suffixes=IMAGE_SUFFIXES)
        targets = find_images([Path(maps)], stems)
        pairs += [(found[s], targets[s]) for s in stems if s in found and s not in kept_out]
    if not pairs:
        raise InputError(f"--pairs {' '.join(folders)}: no photograph has a map of its stem")
    return pairs


class Training:
    """The network, its optimiser, and the mean of its weights over the last steps."""

    def __init__(self, *, steps: int, lr: float) -> None:
        self.network = SaliencyNetwork().to(memory_format=torch.channels_last)
        self.network.load_imagenet()
        self.network.freeze()
        own = [p for n, p in self.network.named_parameters() if not n.startswith("body.")]
        body = [p for p in self.network.body.parameters() if p.requires_grad]
        groups = [{"params": own, "first_lr": 5 * lr}, {"params": body, "first_lr": lr}]
        self.optimiser = torch.optim.AdamW(groups, lr=lr, weight_decay=0.01)
        self.steps, self.step = steps, 0
        self.mean = {k: v.clone() for k, v in self.network.state_dict().items()}

    def advance(self, images: Tensor, target: Tensor) -> float:
        """One step; return its loss."""
        warm = min(1.0, (self.step + 1) / 50)
        for group in self.optimiser.param_groups:
            group["lr"] = group["first_lr"] * warm * (1.0 - self.step / self.steps) ** 0.9
        loss = saliency_loss(self.network(images), target)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.step += 1
        keep = min(0.99, self.step / (self.step + 10))
        for key, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.mean[key].lerp_(value, 1.0 - keep)
        return float(loss)

    def save(self, folder: Path) -> None:
        """Write what a stopped training goes on from."""
        task = {"mean": self.mean}
        state = {
            "model": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "scaler": {},
            "task": task,
            "random": random_states(),
        }
        write_state(folder, state)

    def resume(self, folder: Path) -> None:
        """Go on from what :meth:`save` wrote, where there is such."""
        state = read_state(folder)
        if state is not None:
            self.network.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.mean = state["step"], state["task"]["mean"]
            set_random_states(state["random"])


def batches(crops: Crops, *, first: int, steps: int, workers: int) -> Iterator[list[Tensor]]:
    """The batches of steps `first` to `steps`."""
    numbers = range(first * crops.batch, steps * crops.batch)
    return iter(DataLoader(crops, crops.batch, sampler=numbers, num_workers=workers))


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and write `saliency.onnx`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", nargs="+", required=True, metavar="PHOTOGRAPHS=MAPS")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--keep_out", type=Path, help="stems, one a line")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch_size", type=int, default=12)
    parser.add_argument("--lr", type=float, default=4e-4, help="the decoder has five times as much")
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument("--side", type=int, default=384, help="longer side in use, pixels")
    parser.add_argument("--num_workers", type=int, default=1)
    args = parser.parse_args(argv)
    kept_out = set(args.keep_out.read_text(encoding="utf-8").split()) if args.keep_out else set()
    pairs = pairs_of(args.pairs, kept_out)
    torch.manual_seed(args.seed)
    training = Training(steps=args.steps, lr=args.lr)
    training.resume(args.out)
    print(f"{len(pairs)} photographs, {args.steps} steps, from step {training.step}", flush=True)
    crops, start = Crops(pairs, batch=args.batch_size, seed=args.seed), time.monotonic()
    losses: list[float] = []
    for images, target in batches(
        crops, first=training.step, steps=args.steps, workers=args.num_workers
    ):
        losses.append(training.advance(images.to(memory_format=torch.channels_last), target))
        if training.step % 50 == 0:
            passed = time.monotonic() - start
            print(
                f"step {training.step}, loss {np.mean(losses[-50:]):.4f}, {passed:.0f} s",
                flush=True,
            )
            training.save(args.out)
    training.network.load_state_dict(training.mean)
    export_saliency(args.out / "saliency.onnx", training.network, side=args.side)
    write_json(
        args.out / "saliency.json",
        {
            **vars(args),
            "out": str(args.out),
            "photographs": len(pairs),
            "keep_out": sorted(kept_out),
        },
    )


if __name__ == "__main__":
    raise SystemExit(run_command(main))
