"""Reading and writing saliency maps; :mod:`smaf.core.images` says what is read of which file."""

from __future__ import annotations

import io
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, PngImagePlugin

from smaf.core.files import write_bytes
from smaf.core.image_files import ImageFile, loading, open_image
from smaf.core.levels import eight_bits

_FIX = "save the map as 8-bit greyscale, 0..255, 255 most salient"
_GREY = 8  # so far apart lossy compression may move the channels of a grey map
# A PNG's text, right behind its header: who made the map. Programs that change a map and save it
# leave it out, or put it elsewhere
_MAKER = ("Software", "smaf saliency")
_MARK = b"tEXt" + "\0".join(_MAKER).encode()
_HEAD = 33 + 4 + len(_MARK)  # bytes up to its end


def read_saliency(path: Path, *, size: tuple[int, int] | None = None) -> Image.Image:
    """Read a saliency map as an 8-bit greyscale image, 255 most salient.

    `size` is the photograph's (width, height); another size is an :class:`InputError`, and so is a
    file that is damaged, or whose colours or numbers can be meant in more than one way.
    """
    file = open_image(path, "saliency map", whole=True)
    file.check_one_frame()
    file.check_size(size)
    with loading(path, file.what):
        grey = _of_alpha(file, eight_bits(file))
        high = _range(grey)[1]
        if file.bits in {2, 4} and file.image.mode == "L" and high == 255 // (2**file.bits - 1):
            raise file.refuse(
                f"has {file.bits} bits and holds 0 and 1 alone, which may be dark grey or salient",
                _FIX,
            )
        return grey.point(lambda value: 255 * value) if high == 1 else grey


def _of_alpha(file: ImageFile, image: Image.Image) -> Image.Image:
    """Return what the alpha of a cut-out says, or what the colours say where alpha says nothing."""
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode in {"PA", "RGBa"}:
        image = image.convert("RGBA")
    if image.mode not in {"LA", "La", "RGBA"}:
        return _of_colours(file, image)
    alpha = image.getchannel(image.getbands()[-1])
    low, high = _range(alpha)
    if low < high:
        return alpha
    colours = image.convert("LA").getchannel(0) if image.mode != "RGBA" else image.convert("RGB")
    if low == 255:
        return _of_colours(file, colours)
    if low == 0 and not _is_grey_map(colours):
        return alpha
    raise file.refuse(
        f"has the same alpha, {low}, everywhere, so that it may be a grey map or a cut-out", _FIX
    )


def _is_grey_map(image: Image.Image) -> bool:
    return _spread(image) <= _GREY and len(set(_range(image.convert("L")))) > 1


def _range(image: Image.Image) -> tuple[int, int]:
    """The smallest and the largest value of a greyscale image of 8 bits."""
    values = np.asarray(image)
    return int(values.min()), int(values.max())


def _spread(image: Image.Image) -> int:
    """The largest difference between the channels of a pixel; 0 for greyscale."""
    if image.mode in {"1", "L"}:
        return 0
    bands = image.convert("RGB").split()
    return max(_range(ImageChops.difference(a, b))[1] for a, b in combinations(bands, 2))


def _of_colours(file: ImageFile, image: Image.Image) -> Image.Image:
    """Return the brightness of a grey map; of two colours the one that is not black is salient."""
    if _spread(image) <= _GREY:
        return image.convert("L")
    colours = image.convert("RGB").getcolors(2)
    if colours is None or (
        len(colours) == 2 and (0, 0, 0) not in {colour for _, colour in colours}
    ):
        raise file.refuse(
            f"is a {file.image.mode} image in colours, expected brightness or a cut-out's alpha",
            _FIX,
        )
    return image.convert("RGB").convert("L").point(lambda value: 255 if value else 0)


def write_saliency(path: Path, image: Image.Image) -> None:
    """Write an 8-bit greyscale map as a PNG that says who made it, whole or not at all."""
    if image.getextrema()[1] == 1:
        # Nearly nothing is salient. Read again, 0 and 1 alone would be a mask of 0 and 255 (S2)
        image = Image.new("L", image.size)
    maker, stream = PngImagePlugin.PngInfo(), io.BytesIO()
    maker.add_text(*_MAKER)
    # Level 6 gains 2 % of the size, and takes twice the time
    image.save(stream, format="PNG", pnginfo=maker, compress_level=4)
    write_bytes(path, stream.getvalue())


def made_here(path: Path) -> bool:
    """Whether :func:`write_saliency` made this file, and no program has changed it since."""
    with path.open("rb") as file:
        return file.read(_HEAD).endswith(_MARK)
