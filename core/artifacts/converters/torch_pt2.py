"""Convert a program that ``torch.export`` saved (``.pt2``) to ONNX by torch itself.

* Such a file may hold pickled objects, so it is loaded only where a Conversion runs.
* The reference of the Parity is the loaded program, on the seller's samples or drawn inputs.
* Whether a module was well exported is the business of whoever exported it.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from typing import TYPE_CHECKING, Any, Final

from hanse.core.artifacts.converters.answering import (
    ConversionRefused,
    bound,
    check_size,
    check_zip,
    framework,
    versions_of,
)
from hanse.core.artifacts.converters.parity import (
    check_model,
    draw_inputs,
    match_samples,
    open_session,
    read_samples,
    report_parity,
    run,
)

if TYPE_CHECKING:
    from pathlib import Path

ROWS: Final = 4
OTHER_SIZE: Final = 32


def convert(source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Write the program as ONNX to ``target`` and compare the two."""
    check_size(source, options)
    members = check_zip(source, options)
    if not any(name.endswith("archive_format") for name in members):
        raise ConversionRefused("unreadable", "archive_format")
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the exporter will do differently some day
        torch = framework("torch")
        framework("onnxscript")
        try:
            with source.open("rb") as file:  # torch goes by the name, but takes a file as it is
                program = torch.export.load(file)
        except Exception as error:  # noqa: BLE001  a file of a stranger fails in any way
            raise ConversionRefused("unreadable", error) from None
        raw = export(torch, program, target)
        session = open_session(raw)
        samples = read_samples(source, options)
        if samples:
            inputs: dict[str, Any] | None = match_samples(session, samples, bound(options, "rows"))
        else:
            inputs = draw_inputs(session, ROWS, OTHER_SIZE)
        if inputs is None:
            kinds = [one.type for one in session.get_inputs()]
            raise ConversionRefused("not_exportable", kinds)
        outputs = refer(torch, program, session, inputs)
    target.write_bytes(raw)
    tools = versions_of("torch", "onnxscript", "onnx", "onnxruntime")
    count = max((array.shape[0] for array in inputs.values() if array.ndim), default=1)
    origin = "seller" if samples else "drawn"
    return {
        "files": [target.name],
        "parity": report_parity("pt2", tools, count, origin, outputs),
        "kept": True,
        "notes": [],
        "figures": {},
    }


def export(torch: Any, program: Any, target: Path) -> bytes:  # noqa: ANN401  torch is not here
    """Export a loaded program to one ONNX file and return its bytes."""
    onnx = framework("onnx")
    raw_file = target.with_name(target.name + ".export")
    try:
        torch.onnx.export(program, dynamo=True, verbose=False).save(str(raw_file))
        model = onnx.load(str(raw_file))  # with what it may have put beside it
    except Exception as error:  # noqa: BLE001  an exporter fails in any way
        raise ConversionRefused("not_exportable", error) from None
    finally:
        for left in raw_file.parent.glob(raw_file.name + "*"):
            left.unlink()
    return check_model(model)


def refer(
    torch: Any,  # noqa: ANN401  as above
    program: Any,  # noqa: ANN401  as above
    session: Any,  # noqa: ANN401  as above
    inputs: dict[str, Any],
) -> list[tuple[str, Any, Any]]:
    """Put beside each output of the model what the program itself says."""
    try:
        with torch.no_grad():
            said = program.module()(*(torch.from_numpy(array) for array in inputs.values()))
    except Exception as error:  # noqa: BLE001  a program of a stranger fails in any way
        raise ConversionRefused("not_runnable", error) from None
    leaves = torch.utils._pytree.tree_leaves(said)  # noqa: SLF001  the order export uses
    references = [leaf.detach().numpy() for leaf in leaves if hasattr(leaf, "detach")]
    names = [one.name for one in session.get_outputs()]
    got = run(session, inputs)
    if len(references) != len(got):
        raise ConversionRefused("not_exportable", f"{len(got)} outputs, not {len(references)}")
    return list(zip(names, references, got, strict=True))
