"""Converters: each a single file that also runs where Hanse is not installed.

* A converter imports only the standard library, numpy, onnx, onnxruntime and its own
  framework, and the framework only when it is asked to convert.
* As a module it is ``convert(source, target, options)``; as a script (``python -I FILE``) it
  reads one JSON object ``{"source", "target", "options"}`` on standard input and prints one JSON
  object as the last line of standard output: ``{"made": ...}``, or
  ``{"refused": {"code": ..., "values": {"what": ...}}}``.
* What ``convert`` returns has the fields of ``hanse.core.model.running.Made``; ``files`` are
  names in the folder of ``target``.  A file it refuses raises its ``ConversionRefused``.
* ``source`` and the file of ``options["samples"]`` lie in one folder; every bound comes with
  ``options``, from ``hanse.core.limits``, since no converter can import it.
* The last part, the same in every file, holds how results are compared and said.

Which converter a file needs, and what a result is good for, is not known here.
"""
