"""Pictures, decoded in the Worker and nowhere else; there only where the extra is installed.

* PNG and JPEG by what they hold, not by what they are named; at most so many pixels, known
  before one is decoded.
* A picture stands as its camera says (EXIF), is grey or RGB of 8 bits, and is resized
  bilinearly.

What is in a picture is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import PIL
from PIL import Image, ImageOps, JpegImagePlugin, PngImagePlugin

from hanse.core.certify.adapters.refusal import name
from hanse.core.certify.adapters.session import Refusal
from hanse.core.limits import PICTURE_FILE_SIZE_BYTES_MAX, PICTURE_PIXELS_MAX

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.core.model.arrays import Array

_FORMATS: Final = (PngImagePlugin.PngImageFile.format, JpegImagePlugin.JpegImageFile.format)
_TURNED: Final = 0x0112  # the tag "orientation" of EXIF
_HIGH_BYTE: Final = 8

Image.MAX_IMAGE_PIXELS = None  # it warns only, up to twice as many; the exact check is below
Image.preinit()  # decoders that would be looked up at the first picture, when it is too late


def version() -> str:
    """Return the version of the decoder."""
    return str(PIL.__version__)


def read(
    stage: Path,
    files: tuple[str, ...],
    size: tuple[int, int] | None,
    channels: int,
    *,
    resize: bool,
) -> Array:
    """Decode pictures into uint8 [n, height, width, channels], or raise ``Refusal``.

    ``size`` is (height, width): with ``resize`` what they are made into, else what they must
    have; without it the first says it for all.
    """
    pixels: Array | None = None
    for number, file in enumerate(files):
        picture = _decoded(stage, file, channels, size if resize else None)
        height, width = picture.shape[:2]
        if size is not None and (height, width) != size:
            raise Refusal(
                f"{name(file)} has {width} x {height} pixels, others {size[1]} x {size[0]}"
            )
        size = (height, width)
        if pixels is None:
            pixels = np.empty((len(files), height, width, channels), np.uint8)
        pixels[number] = picture
    assert pixels is not None
    return pixels


def _decoded(stage: Path, file: str, channels: int, size: tuple[int, int] | None) -> Array:
    path = stage / file
    try:
        _check("bytes", path.stat().st_size, PICTURE_FILE_SIZE_BYTES_MAX)
        with Image.open(path, formats=_FORMATS) as opened:
            _check("pixels", opened.width * opened.height, PICTURE_PIXELS_MAX)
            plain = _eight_bits(_upright(opened)).convert("L" if channels == 1 else "RGB")
            if size is not None and plain.size != (size[1], size[0]):
                plain = plain.resize((size[1], size[0]), Image.Resampling.BILINEAR)
            return np.asarray(plain, np.uint8).reshape(plain.height, plain.width, channels)
    except MemoryError:
        raise
    except Refusal as refusal:
        raise Refusal(f"{name(file)} has {refusal}") from refusal
    except Exception as error:  # whatever a decoder raises means: not readable
        raise Refusal(f"{name(file)}: {type(error).__name__}") from error


def _check(what: str, found: int, most: int) -> None:
    if not 0 < found <= most:
        raise Refusal(f"{found} {what}, limit {most}")


def _upright(image: Image.Image) -> Image.Image:
    if image.getexif().get(_TURNED, 1) == 1:
        return image
    return ImageOps.exif_transpose(image)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Cut 16 bits of grey to the 8 upper ones; the library would cut off what is bright."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image).astype(np.uint32) >> _HIGH_BYTE).astype(np.uint8))
