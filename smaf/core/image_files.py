"""Opening an image file: which kinds, how large, whole, upright, and how deep its samples are."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from smaf.core.errors import InputError
from smaf.core.files import require_file
from smaf.core.png import check_png, png_depth

Needed = Callable[[tuple[int, int]], tuple[int, int]]  # (W, H) → the (W, H) that is enough

MAX_PIXELS = 120_000_000  # a photograph of so many takes up to 1 GB while it is read
Image.MAX_IMAGE_PIXELS = (
    MAX_PIXELS  # above it Pillow warns (it is refused here), at twice as many it refuses, too
)
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

_KINDS = ("BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "TIFF", "WEBP", "AVIF")
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_ITS_SIDE = {turn for tag, turn in _TURNS.items() if tag > 4}
_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 259, 262, 339  # TIFF's tags
_LOSSY_TIFF = {6, 7, 34712, 50001, 50002, 52546}  # JPEG, JPEG 2000, WebP, JPEG XL
_DEEP = ("I", "F")  # Pillow's modes of more than 8 bits begin so


class TooLargeError(InputError):
    """An image of more than :data:`MAX_PIXELS` pixels."""


@dataclass(frozen=True)
class ImageFile:
    """An image as its file has it, loaded and upright."""

    path: Path
    what: str  # "photograph", "mask" or "saliency map", for messages
    image: Image.Image
    kind: str  # Pillow's name of the format
    bits: int  # a sample
    frames: int
    lossless: bool
    white_is_zero: bool

    @property
    def deep(self) -> bool:
        """Whether the image is greyscale of more than 8 bits."""
        return self.image.mode.startswith(_DEEP)

    def refuse(self, came: str, fix: str) -> InputError:
        """The error that names the file, what came, and what to do."""
        return InputError(f"{self.what} {self.path} {came}: {fix}")

    def check_one_frame(self) -> None:
        """Raise :class:`InputError` where the file holds several images."""
        if self.frames > 1:
            raise self.refuse(
                f"holds {self.frames} images", "save the one that is meant in a file of its own"
            )

    def check_size(self, expected: tuple[int, int] | None) -> None:
        """Raise :class:`InputError` where an image does not have its photograph's size.

        `expected` is (width, height).
        """
        if expected is not None and self.image.size != expected:
            raise self.refuse(
                "is {}×{} pixels, its photograph is {}×{}".format(*self.image.size, *expected),
                "make them the same size",
            )


def open_image(
    path: Path, what: str, *, whole: bool = False, needed: Needed | None = None
) -> ImageFile:
    """Open the file of `what`, and turn it as its orientation tag says.

    `whole` verifies a PNG's checksums, too. `needed` is called with the upright (width, height),
    and says which size is enough: see :func:`smaf.core.images.read_image`.

    Raises :class:`InputError` where it is missing, empty, damaged, too large for the memory, or no
    image.
    """
    require_file(path, what, "put it there or take its id off the list")
    # An open file, not its name: Pillow would map plain TIFFs into memory, and misread those that
    # lie on their side
    with loading(path, what), path.open("rb") as file, Image.open(file, formats=_kinds()) as image:
        if image.width * image.height > MAX_PIXELS:
            raise _too_large(f"is {image.width}×{image.height} pixels", path, what)
        if whole:
            check_png(path)
        file.seek(0)
        bits = _bits(file.read(32), image)
        _check_read_rightly(image, bits)
        tags, frames = getattr(image, "tag_v2", {}), getattr(image, "n_frames", 1)
        lossless = image.format in {"PNG", "BMP"} or (
            image.format == "TIFF" and tags.get(_COMPRESSION) not in _LOSSY_TIFF
        )
        white_is_zero = tags.get(_PHOTOMETRIC) == 0
        if needed is not None and image.format == "JPEG":
            _reduce(image, needed)
        image.load()
        upright = _upright(image)
        if needed is not None and image.format != "JPEG":
            needed(upright.size)
        return ImageFile(
            path, what, upright, image.format or "", bits, frames, lossless, white_is_zero
        )


class Stand(NamedTuple):
    """How a picture stands: its (width, height) upright, and the turn that makes it so, if any."""

    size: tuple[int, int]
    turn: Image.Transpose | None


def stand_of(path: Path, what: str) -> Stand:
    """How the picture in a file of `what` stands, by the file's head; a TIFF is read whole.

    Raises :class:`InputError` where it is missing, no image or too large.
    """
    require_file(path, what, "put it there or take its id off the list")
    with loading(path, what), Image.open(path, formats=_kinds()) as image:
        if image.width * image.height > MAX_PIXELS:
            raise _too_large(f"is {image.width}×{image.height} pixels", path, what)
        if image.format == "TIFF":  # Pillow turns it
            image.load()
        turn = _turn(image)
        return Stand(image.size[::-1] if turn in _ON_ITS_SIDE else image.size, turn)


@contextmanager
def loading(path: Path, what: str) -> Iterator[None]:
    """Turn errors of reading `what` from `path` into an :class:`InputError` that names the file."""
    try:
        yield
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{what} {path} does not fit into the memory: make it smaller") from error
    except Image.DecompressionBombError as error:
        counted = re.search(r"(\d+) pixels", str(error))
        raise _too_large(
            f"has {counted[1] if counted else 'too many'} pixels", path, what
        ) from error
    except UnidentifiedImageError as error:
        reason = (
            "it is empty" if path.stat().st_size == 0 else f"it is none of {', '.join(_kinds())}"
        )
        raise InputError(f"{what} {path} cannot be read ({reason}): replace the file") from error
    except Exception as error:  # Pillow's readers raise nearly every kind on damaged files
        raise InputError(
            f"{what} {path} cannot be read ({str(error) or type(error).__name__}): replace the file"
        ) from error


@cache
def _kinds() -> tuple[str, ...]:
    """Return the formats that are opened, of those that this Pillow knows.

    Some others, such as EPS, run programs.
    """
    Image.init()
    return tuple(kind for kind in _KINDS if kind in Image.OPEN)


def _too_large(size: str, path: Path, what: str) -> TooLargeError:
    return TooLargeError(
        f"{what} {path} {size}, at most {MAX_PIXELS / 1e6:.0f} million are read: make it smaller"
    )


def _bits(head: bytes, image: Image.Image) -> int:
    """Return the bits of a sample as the file has them, by its first 32 bytes.

    Pillow spreads 1, 2 and 4 bits over 0..255.
    """
    if (depth := png_depth(head)) is not None:
        return depth
    if image.format == "TIFF":
        return int(getattr(image, "tag_v2", {}).get(_BITS, (1,))[0])
    if image.format == "BMP":  # 16 to 32 bits a pixel are up to 8 a sample
        place = 24 if head[14] == 12 else 28
        return min(8, int.from_bytes(head[place : place + 2], "little"))
    return {"1": 1, "I": 32, "F": 32}.get(image.mode, 16 if image.mode.startswith("I;16") else 8)


def _check_read_rightly(image: Image.Image, bits: int) -> None:
    """Raise ValueError for what Pillow would read wrongly without a word."""
    tags = getattr(image, "tag_v2", {})
    if image.format == "BMP" and bits != {"1": 1, "L": 8}.get(image.mode, bits):
        raise ValueError(f"a BMP of {bits} bits a pixel in grey is not supported")
    if tags.get(_PHOTOMETRIC) == 0 and image.mode.startswith(_DEEP):
        raise ValueError("a TIFF of more than 8 bits where white is 0 is not supported")
    if bits == 8 and 2 in tags.get(_SAMPLE_FORMAT, ()):
        raise ValueError("a TIFF of signed bytes is not supported")


def _upright(image: Image.Image) -> Image.Image:
    """Turn a loaded image as its orientation tag says."""
    turn = _turn(image)
    return image if turn is None else image.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """How to turn an image by its orientation tag.

    Only this tag is read; what cannot be read counts as upright.
    """
    if image.format == "TIFF":  # Pillow has turned it
        return None
    try:
        return _TURNS.get(image.getexif()[_ORIENTATION])
    except Exception:  # anything may lie there, or nothing
        return None


def _reduce(image: Image.Image, needed: Needed) -> None:
    """Let a JPEG be unpacked at a half, a quarter or an eighth, where twice the size is left."""
    lies = _turn(image) in _ON_ITS_SIDE
    size = needed(image.size[::-1] if lies else image.size)
    width, height = (2 * side for side in (size[::-1] if lies else size))
    if image.width >= 2 * width and image.height >= 2 * height:
        image.draft(None, (width, height))
