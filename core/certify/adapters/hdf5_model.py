"""Reads what a Keras ``.h5`` file says of itself: its links and its configuration, as data.

* No link leads out of the file: external and soft links, external storage and virtual
  datasets are refused, because a loader would open the file they name.
* Layers are read from the configuration as words; nothing is built from them.

HDF5 is read by ``h5py``, of the extra ``keras``; without it the file is only recognised.
"""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any, Final

from hanse.core.certify.adapters.refusal import Unfit, Words
from hanse.core.certify.adapters.unloaded import keras_facts
from hanse.core.limits import HDF5_OBJECTS_MAX, ZIP_TEXT_SIZE_BYTES_MAX
from hanse.core.model.artifact import ModelFacts

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


def _h5py() -> ModuleType | None:
    try:
        return importlib.import_module("h5py")
    except ImportError:
        return None


_H5PY: Final = _h5py()  # at import: nothing is imported once a model byte was read


def versions() -> dict[str, str]:
    """Name the reader of this format and its version, if it is here."""
    return {} if _H5PY is None else {"h5py": str(_H5PY.__version__)}


def read(stage: Path, file: str) -> ModelFacts:
    """Read the facts of ``file``, or raise ``Unfit`` with the first rule it breaks."""
    if _H5PY is None:
        return ModelFacts(format="keras_h5", file=file, warnings=("never_loaded", "not_read"))
    words = Words()
    try:
        with _H5PY.File(stage / file, "r", locking=False) as opened:  # nobody writes here
            parameters = _check_links(_H5PY, opened)
            config = _attribute(opened, "model_config")
            words.say("keras", _attribute(opened, "keras_version"))
            words.say("backend", _attribute(opened, "backend"))
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise Unfit("not_readable", str(error).replace(f"{stage}/", ""), "HDF5") from error
    words.say("parameters", str(parameters))
    try:
        return keras_facts("keras_h5", file, json.loads(config) if config else {}, words)
    except (ValueError, RecursionError) as error:
        raise Unfit("header", f"model_config: {error}", "JSON") from error


def _check_links(h5py: ModuleType, opened: Any) -> int:  # noqa: ANN401  h5py has no types
    """Walk every link without following one that leads elsewhere; return how many numbers."""
    elements = 0
    seen: set[tuple[int, int]] = set()
    waiting = [(opened, "")]
    objects = 0
    while waiting:
        group, place = waiting.pop()
        for key in group:
            objects += 1
            if objects > HDF5_OBJECTS_MAX:
                raise Unfit("objects", objects, HDF5_OBJECTS_MAX)
            where = f"{place}/{key}"
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise Unfit("link", where, "")
            one = group[key]
            info = h5py.h5o.get_info(one.id)
            if (address := (info.fileno, info.addr)) in seen:
                continue  # a group may hold itself
            seen.add(address)
            if isinstance(one, h5py.Group):
                waiting.append((one, where))
            elif isinstance(one, h5py.Dataset):
                if one.external or one.is_virtual:
                    raise Unfit("link", where, "")
                elements += one.size or 0
    return elements


def _attribute(opened: Any, key: str) -> str:  # noqa: ANN401
    if key not in opened.attrs:
        return ""
    size = opened.attrs.get_id(key).get_storage_size()
    if size > ZIP_TEXT_SIZE_BYTES_MAX:
        raise Unfit("header_size", size, ZIP_TEXT_SIZE_BYTES_MAX)
    value = opened.attrs[key]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
