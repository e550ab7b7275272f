"""This module computes ProDA's prototypes for stage 2 and keeps them in a file.

The teacher computes them once over the data set.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from smaf.core.archives import open_arrays
from smaf.core.errors import InputError
from smaf.core.files import write_bytes
from smaf.core.tensors import normalise
from smaf.data.layout import DataRoot
from smaf.engine import distributed
from smaf.models import Classifier, ClassifierOutput
from smaf.ops import class_prototypes

log = logging.getLogger("smaf")
PROTOTYPES = "prototypes_eps.npz"
_FIX = "delete it, it is computed again"


@torch.inference_mode()
def initial_prototypes(
    model: Classifier, data: DataRoot, ids: Sequence[str], *, side: int
) -> Tensor:
    """Return the class means of the features over the data set, (C+1, D).

    Each photograph, squeezed to side × side pixels, adds one mean for each class with at least 10
    pixels in it; one that shows none of the classes adds one for the background. A class
    that never occurs stays zero, with a warning that names it.
    """
    model.eval()
    device = next(model.parameters()).device
    outputs = model.num_classes + 1
    sums = torch.zeros(outputs, model.feature_channels, device=device)
    counts = torch.zeros(outputs, device=device)
    with tqdm(
        distributed.share(ids),
        desc="prototypes",
        unit="image",
        mininterval=1.0,
        disable=distributed.rank() > 0,
    ) as bar:
        for image_id in bar:
            squeezed = data.photo(image_id).resize((side, side), Image.Resampling.BICUBIC)
            images = normalise(squeezed, model.mean, model.std)[None].to(device)
            output: ClassifierOutput = model(images)
            vectors, classes = class_prototypes(
                output.features.float(),
                output.cam.float(),
                labels=torch.from_numpy(data.labels_of([image_id])).to(device),
            )
            sums.index_add_(0, classes, vectors)
            counts.index_add_(0, classes, torch.ones_like(classes, dtype=counts.dtype))
    sums, counts = (distributed.sum_over_processes(part).to(device) for part in (sums, counts))
    absent = [
        name
        for name, n in zip((*data.classes.names, "background"), counts.tolist(), strict=True)
        if n == 0
    ]
    if absent and distributed.rank() == 0:
        log.warning(
            "no image has 10 pixels predicted as %s: these prototypes stay zero", ", ".join(absent)
        )
    return sums / counts.clamp(min=1)[:, None]


def write_prototypes(
    path: Path, prototypes: Tensor, class_names: Sequence[str], *, source: str
) -> None:
    """Write (C+1, D) prototypes with their class names and `source`.

    The background's name comes last; `source` is a checksum of what the prototypes were made of.
    """
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        prototypes=prototypes.cpu().numpy(),
        names=np.array([*class_names, "background"]),
        source=np.array([source]),
    )
    write_bytes(path, stream.getvalue())


def read_prototypes(
    path: Path, *, class_names: Sequence[str], channels: int, source: str
) -> Tensor:
    """Read the prototypes that :func:`write_prototypes` wrote.

    Prototypes of other classes, another feature size or another source are refused before they are
    unpacked.
    """
    expected, shape = np.array([*class_names, "background"]), (len(class_names) + 1, channels)
    with open_arrays(path, ("prototypes", "names", "source"), "prototypes", _FIX) as arrays:
        stored, names, made_of = arrays["prototypes"], arrays["names"], arrays["source"]
        if stored.shape != shape or stored.dtype.kind != "f":
            raise InputError(
                f"prototypes {path} are {stored.shape} {stored.dtype}, expected {shape}: use "
                "--overwrite"
            )
        if (names.shape, names.dtype) != (
            expected.shape,
            expected.dtype,
        ) or names.read().tolist() != expected.tolist():
            raise InputError(
                f"prototypes {path} are of other classes, expected {', '.join(class_names)}: use "
                "--overwrite"
            )
        if (made_of.shape, made_of.dtype) != (
            (1,),
            np.array([source]).dtype,
        ) or made_of.read().tolist() != [source]:
            raise InputError(
                f"prototypes {path} were made of other weights, photographs or crops: {_FIX}"
            )
        prototypes = stored.read().astype(np.float32)
    if not np.isfinite(prototypes).all():
        raise InputError(f"prototypes {path} hold values that are not finite: {_FIX}")
    return torch.from_numpy(prototypes)
