"""Pictures in folders: one sub-folder a class, named for its label.

* Nothing is decoded here: the files go onto a stage and the Worker decodes them.
* Hidden files are passed over, as file managers make them; anything else that is no PNG or JPEG
  in a class folder is refused by name.  Links are refused: they lead elsewhere.
* The digest is of the sorted lines ``sha256 path label``.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hanse.core.certify.data.faults import DatasetRefused, shown
from hanse.core.certify.data.npz_file import file_digest
from hanse.core.errors import FileUnreadable
from hanse.core.limits import (
    CARD_LINE_CHARACTERS_MAX,
    CLASSES_MAX,
    DATASET_IMAGE_SIZE_BYTES_MAX,
    DATASET_IMAGES_MAX,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.core.model.control import Control

_SUFFIXES: Final = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One picture: ``name`` is its path in the folder with ``/``, ``label`` its sub-folder."""

    name: str
    path: Path
    label: str


def list_images(folder: Path, control: Control) -> tuple[ImageFile, ...]:
    """List the pictures in the order of their paths; whoever stages them takes the same list."""
    found: list[ImageFile] = []
    for number, label in enumerate(_entries(folder), start=1):
        if not label.is_dir(follow_symlinks=False):
            raise DatasetRefused(folder.name, "not_a_class", shown(label.name), "folder")
        if len(label.name) > CARD_LINE_CHARACTERS_MAX:
            raise DatasetRefused(
                folder.name, "class_name", shown(label.name), CARD_LINE_CHARACTERS_MAX
            )
        if number > CLASSES_MAX:
            raise DatasetRefused(folder.name, "classes", number, CLASSES_MAX)
        for entry in _entries(Path(label.path)):
            found.append(_image(folder.name, label.name, entry))
            if len(found) > DATASET_IMAGES_MAX:
                raise DatasetRefused(folder.name, "images", len(found), DATASET_IMAGES_MAX)
        control.checkpoint("list_pictures", len(found), len(found))
    if not found:
        raise DatasetRefused(folder.name, "no_images", 0, 1)
    return tuple(sorted(found, key=lambda one: one.name))


def list_pictures(path: Path, control: Control) -> tuple[ImageFile, ...]:
    """List one picture, those of a folder, or those of its sub-folders, by their paths.

    Labels play no part; everything else is as in ``list_images``.
    """
    if not path.is_dir():
        size = path.stat().st_size
        if size > DATASET_IMAGE_SIZE_BYTES_MAX:
            raise DatasetRefused(path.name, "image_size", size, DATASET_IMAGE_SIZE_BYTES_MAX)
        return (ImageFile(path.name, path, ""),)
    entries = _entries(path)
    folders = [one for one in entries if one.is_dir(follow_symlinks=False)]
    found = [_image(path.name, "", one) for one in entries if one not in folders]
    for folder in folders:
        found += (_image(path.name, folder.name, one) for one in _entries(Path(folder.path)))
        control.checkpoint("list_pictures", len(found), len(found))
        if len(found) > DATASET_IMAGES_MAX:
            raise DatasetRefused(path.name, "images", len(found), DATASET_IMAGES_MAX)
    if not found:
        raise DatasetRefused(path.name, "no_images", 0, 1)
    return tuple(sorted(found, key=lambda one: one.name))


def folder_digest(images: Sequence[ImageFile], control: Control) -> bytes:
    """Return the SHA-256 of the lines ``sha256 path label``, sorted, each with its end."""
    lines = []
    quiet = type(control)()  # progress is told by files, not by the bytes of each
    for number, image in enumerate(images):
        control.checkpoint("hash_data", number, len(images))
        lines.append(f"{file_digest(image.path, quiet).hex()} {image.name} {image.label}\n")
    return hashlib.sha256("".join(sorted(lines)).encode()).digest()


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            found = [one for one in entries if not one.name.startswith(".")]
    except OSError as fault:
        raise FileUnreadable(path=folder, detail=fault.strerror or str(fault)) from fault
    return sorted(found, key=lambda one: one.name)


def _image(folder: str, label: str, entry: os.DirEntry[str]) -> ImageFile:
    name = f"{label}/{entry.name}" if label else entry.name
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError as fault:
        raise FileUnreadable(path=entry.path, detail=fault.strerror or str(fault)) from fault
    is_name = entry.name.isprintable() and name.isprintable()
    if not stat.S_ISREG(found.st_mode) or not is_name:
        raise DatasetRefused(folder, "not_a_file", shown(name), "PNG, JPEG")
    if not entry.name.lower().endswith(_SUFFIXES):
        raise DatasetRefused(folder, "not_an_image", shown(name), "PNG, JPEG")
    if found.st_size > DATASET_IMAGE_SIZE_BYTES_MAX:
        raise DatasetRefused(folder, "image_size", shown(name), DATASET_IMAGE_SIZE_BYTES_MAX)
    return ImageFile(name, Path(entry.path), label)
