"""Converters, and what they share: modules that also run where Hanse is not installed.

* Each module named in ``CONVERTERS`` is one converter with ``convert(source, target, options)``.
  It imports only the standard library, numpy and the modules beside it; onnx, onnxruntime and
  its own framework only when it is asked to convert.
* ``answering.py`` holds requests, answers, the refusal and what every source is checked for;
  ``parity.py`` the inputs of both models and how results are compared.
* In an interpreter without Hanse this folder is all there is of it: this file is not run there,
  ``hanse.core.certify.foreign_main`` puts an empty package in its place.
* What ``convert`` returns has the fields of ``hanse.core.model.running.Made``; ``files`` are
  names in the folder of ``target``.  A file it refuses raises ``ConversionRefused``.
* ``source`` and the file of ``options["samples"]`` lie in one folder; every bound comes with
  ``options``, from ``hanse.core.limits``, since no converter can import it.

Which converter a file needs, and what a result is good for, is not known here.
"""

from typing import Final

CONVERTERS: Final = frozenset(
    {"keras3", "keras_h5", "normalise_onnx", "sklearn_skops", "torch_pt2"}
)
