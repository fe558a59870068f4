"""Convert a scikit-learn estimator kept by ``skops`` to ONNX.

* Nothing is loaded before every type the file names is known to be data, by skops, by the list
  here, or by the seller's word for exactly that type.
* The reference of the Parity is the loaded estimator itself, on the seller's samples or drawn rows.
* What skl2onnx has no rule for is refused by its name.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import math
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np

OPSET: Final = 18
ML_OPSET_LEAST: Final = 3  # some rules of skl2onnx still ask for it
ROWS: Final = 256
# Containers of numbers, and functions of numbers, that scikit-learn's own estimators hold.
# None imports, evaluates or opens anything; that is why they stand here.
KNOWN_SAFE: Final = frozenset(
    {
        "numpy.dtype",
        "sklearn._loss.loss.AbsoluteError",
        "sklearn._loss.loss.ExponentialLoss",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn._loss.loss.HalfGammaLoss",
        "sklearn._loss.loss.HalfMultinomialLoss",
        "sklearn._loss.loss.HalfPoissonLoss",
        "sklearn._loss.loss.HalfSquaredError",
        "sklearn._loss.loss.HalfTweedieLoss",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn._loss.loss.HuberLoss",
        "sklearn._loss.loss.PinballLoss",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.feature_selection._univariate_selection.chi2",
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.feature_selection._univariate_selection.f_regression",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.gaussian_process.kernels.CompoundKernel",
        "sklearn.gaussian_process.kernels.ConstantKernel",
        "sklearn.gaussian_process.kernels.DotProduct",
        "sklearn.gaussian_process.kernels.ExpSineSquared",
        "sklearn.gaussian_process.kernels.Exponentiation",
        "sklearn.gaussian_process.kernels.Matern",
        "sklearn.gaussian_process.kernels.Product",
        "sklearn.gaussian_process.kernels.RBF",
        "sklearn.gaussian_process.kernels.RationalQuadratic",
        "sklearn.gaussian_process.kernels.Sum",
        "sklearn.gaussian_process.kernels.WhiteKernel",
        "sklearn.metrics._dist_metrics.ChebyshevDistance64",
        "sklearn.metrics._dist_metrics.EuclideanDistance32",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.metrics._dist_metrics.ManhattanDistance64",
        "sklearn.metrics._dist_metrics.MinkowskiDistance64",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
    }
)


def convert(source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Write the estimator as ONNX to ``target`` and compare the two.

    ``options["trusted"]`` names types the seller vouches for beside the known ones.
    """
    check_size(source, options)
    if "schema.json" not in check_zip(source, options):
        raise ConversionRefused("unreadable", "schema.json")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names of columns, and of versions
        estimator, types = load_estimator(source, frozenset(options.get("trusted", ())))
        width = width_of(estimator, options)
        samples = read_samples(source, options)
        rows = take_rows(samples, width, bound(options, "rows")) if samples else draw_rows(width)
        model = to_onnx(estimator, rows)
        raw = check_model(model)
        session = open_session(raw)
        got = run(session, {session.get_inputs()[0].name: rows})
        names = [one.name for one in session.get_outputs()]
        outputs, notes, no_scores = refer(estimator, rows, dict(zip(names, got, strict=True)))
    target.write_bytes(raw)
    tools = versions_of("scikit-learn", "skops", "skl2onnx", "onnx", "onnxruntime")
    origin = "seller" if samples else "drawn"
    return {
        "files": [target.name],
        "parity": report_parity("skops", tools, len(rows), origin, outputs, no_scores),
        "kept": True,
        "notes": notes,
        "figures": {"types": len(types)},
    }


def load_estimator(source: Path, trusted: frozenset[str]) -> tuple[Any, list[str]]:
    """Load the estimator if every type it names may be; return it and the types skops asked for."""
    skops = framework("skops.io")
    base = framework("sklearn.base")
    try:
        types = sorted(skops.get_untrusted_types(file=source))
    except Exception as error:  # noqa: BLE001  a schema of a stranger fails in any way
        raise ConversionRefused("unreadable", error) from None
    unknown = [name for name in types if name not in KNOWN_SAFE | trusted]
    if unknown:
        raise ConversionRefused("types_unknown", ", ".join(unknown))
    try:
        estimator = skops.load(source, trusted=types)
    except Exception as error:  # noqa: BLE001  as above
        raise ConversionRefused("unreadable", error) from None
    if not isinstance(estimator, base.BaseEstimator):
        raise ConversionRefused("no_estimator", type(estimator).__name__)
    return estimator, types


def width_of(estimator: Any, options: dict[str, Any]) -> int:  # noqa: ANN401  no types
    """Return how many columns a fitted estimator takes."""
    width = getattr(estimator, "n_features_in_", None)
    if not isinstance(width, int | np.integer):
        raise ConversionRefused("no_width", type(estimator).__name__)
    if not 1 <= width <= bound(options, "features"):
        raise ConversionRefused("no_width", width)
    return int(width)


def take_rows(samples: dict[str, Any], width: int, most: int) -> Any:  # noqa: ANN401  an array
    """Take the seller's rows, ``x``, as the model will get them."""
    rows = samples.get("x")
    if rows is None or rows.ndim != 2 or rows.shape[1] != width or rows.dtype.kind not in "biuf":
        shape = None if rows is None else rows.shape
        raise ConversionRefused("samples_unfit", f"x: {shape}, (n, {width})")
    return rows[:most].astype(np.float32)


def draw_rows(width: int) -> Any:  # noqa: ANN401  an array
    """Draw rows of many sizes: which of them the estimator knows is not written in it."""
    chance = np.random.default_rng(SEED)
    count = max(1, min(ROWS, DRAWN_ELEMENTS_MOST // width))
    sizes = 10.0 ** chance.uniform(-1, 3, (count, 1))
    return (chance.normal(size=(count, width)) * sizes).astype(np.float32)


def to_onnx(estimator: Any, rows: Any) -> Any:  # noqa: ANN401  no types
    """Convert, or refuse with the name of what has no rule."""
    base = framework("sklearn.base")
    converter = framework("skl2onnx")
    choices: list[dict[str, bool] | None] = [None]
    if base.is_classifier(estimator):  # but not every classifier knows the option
        choices = [{"zipmap": False}, None]
    first = ""
    for opset in (OPSET, {"": OPSET, "ai.onnx.ml": ML_OPSET_LEAST}):
        for choice in choices:
            try:
                return converter.to_onnx(estimator, rows[:1], options=choice, target_opset=opset)
            except Exception as error:  # noqa: BLE001  a rule of skl2onnx fails in any way
                first = first or named(estimator, error)
    raise ConversionRefused("estimator", first)


def named(estimator: Any, error: Exception) -> str:  # noqa: ANN401  no types
    """Name the estimator, and the first line of what skl2onnx says."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(estimator).__name__}: {first[:200]}"


def refer(
    estimator: Any,  # noqa: ANN401  no types
    rows: Any,  # noqa: ANN401  an array
    got: dict[str, Any],
) -> tuple[list[tuple[str, Any, Any]], list[str], frozenset[str]]:
    """Put beside each output of the model what the estimator itself says.

    Returns them, notes, and the names of those outputs that are no scores of classes.
    """
    base = framework("sklearn.base")
    if base.is_classifier(estimator) or base.is_outlier_detector(estimator):
        methods = ["predict_proba", "decision_function", "score_samples"]
    elif not hasattr(estimator, "predict") or base.is_clusterer(estimator):
        methods = ["transform"]
    else:
        methods = ["predict"]
    score = next((name for name in methods if hasattr(estimator, name)), None)
    outputs, notes = [], []
    for name, array in got.items():
        is_label = array.dtype.kind != "f" and hasattr(estimator, "predict")
        method = "predict" if is_label else score
        if method is None:
            raise ConversionRefused("estimator", type(estimator).__name__)
        try:
            said = getattr(estimator, method)(rows)
        except Exception as error:  # noqa: BLE001  an estimator of a stranger fails in any way
            raise ConversionRefused("not_runnable", named(estimator, error)) from None
        said = np.asarray(said.toarray() if hasattr(said, "toarray") else said)
        if said.shape == (len(rows),) and array.shape == (len(rows), 2):
            # One margin, told for both classes; the runtime may name the second class first.
            is_turned = float(np.dot(said, array[:, 1])) < 0
            said = np.stack([said, -said] if is_turned else [-said, said], axis=1)
            notes += ["margins_turned"] if is_turned else []
        if said.size == array.size:  # a column more or less
            said = said.reshape(array.shape)
        outputs.append((name, said, array))
    no_scores = frozenset(got) if score in {"transform", "predict"} else frozenset()
    return outputs, notes, no_scores


# --- the same text in every converter, compared by a test: a converter is one file ------------

CONTRACT: Final = 1
RTOL: Final = 1e-4  # times the largest finite value of the reference
ATOL: Final = 1e-5
RTOL_HALF: Final = 1e-2  # where an output has half precision
ATOL_HALF: Final = 1e-3
NANO_MOST: Final = 2**62
SEED: Final = 0  # drawn inputs are the same every time
DRAWN_ELEMENTS_MOST: Final = 2**24
TYPES: Final[dict[str, Any]] = {  # numpy's scalar types have no common static type
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32,
    "tensor(uint64)": np.uint64,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


class ConversionRefused(Exception):
    """The file cannot be converted; ``code`` is a stable word, ``values["what"]`` what was met."""

    def __init__(self, code: str, what: object = "") -> None:
        """Cut what was met to what a person can read."""
        text = " ".join(str(what).split())
        super().__init__(f"{code}: {text}")
        self.code = code
        self.values = {"what": text if len(text) <= 300 else text[:299] + "\u2026"}
        self.detail = self.values  # the name the Worker looks for


def framework(name: str) -> Any:  # noqa: ANN401  a module without types
    """Import a package that need not be there, or refuse with its name."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConversionRefused("package_missing", error.name or name) from None


def bound(options: dict[str, Any], name: str) -> int:
    """Return one of the bounds that the caller must give."""
    return int(options[name])


def check_size(path: Path, options: dict[str, Any]) -> None:
    """Refuse a source larger than may be converted."""
    size, most = path.stat().st_size, bound(options, "source_size_bytes")
    if size > most:
        raise ConversionRefused("too_large", f"{size} > {most}")


def check_zip(path: Path, options: dict[str, Any]) -> list[str]:
    """Refuse a zip that unpacks to too much, hides or escapes; return its members' names."""
    try:
        with zipfile.ZipFile(path) as packed:
            members = packed.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise ConversionRefused("unreadable", error) from None
    if len(members) > bound(options, "zip_members"):
        raise ConversionRefused("zip_unfit", f"{len(members)} members")
    size = sum(member.file_size for member in members)
    most = bound(options, "zip_factor") * path.stat().st_size + bound(options, "zip_spare_bytes")
    if size > most:
        raise ConversionRefused("zip_unfit", f"{size} > {most}")
    for member in members:
        parts = member.filename.replace("\\", "/").split("/")
        if member.flag_bits & 1 or ".." in parts or member.filename.startswith(("/", "\\")):
            raise ConversionRefused("zip_unfit", member.filename)
    names = [member.filename for member in members]
    if len(set(names)) != len(names):
        raise ConversionRefused("zip_unfit", "one name twice")
    return names


def read_samples(source: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Read the seller's samples (``.npz``), a name to an array; empty when there are none."""
    name = str(options.get("samples", ""))
    if not name:
        return {}
    path = source.parent / name
    if path.name != name:
        raise ConversionRefused("samples_unfit", name)
    if path.stat().st_size > bound(options, "samples_size_bytes"):
        raise ConversionRefused("samples_unfit", f"{path.stat().st_size} bytes")
    check_zip(path, options)
    try:
        with np.load(path, allow_pickle=False) as packed:
            arrays = {key: packed[key] for key in packed.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, MemoryError) as error:
        raise ConversionRefused("samples_unfit", error) from None
    for key, array in arrays.items():
        if array.dtype.kind not in "biufUS" or array.ndim == 0:
            raise ConversionRefused("samples_unfit", f"{key}: {array.dtype} {array.shape}")
    return arrays


def open_session(model: bytes) -> Any:  # noqa: ANN401  onnxruntime has no types
    """Load a model in the runtime, on one thread, or refuse with the runtime's reason."""
    runtime = framework("onnxruntime")
    settings = runtime.SessionOptions()
    settings.log_severity_level = 3  # or hundreds of KiB of warnings, one for each initialiser
    settings.intra_op_num_threads = 1
    settings.inter_op_num_threads = 1
    try:
        return runtime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  the runtime's errors share no other base
        raise ConversionRefused("not_loadable", error) from None


def run(session: Any, inputs: dict[str, Any]) -> list[Any]:  # noqa: ANN401  as above
    """Run a model once, or refuse with the runtime's reason."""
    try:
        return list(session.run(None, inputs))
    except Exception as error:  # noqa: BLE001  as above
        raise ConversionRefused("not_runnable", error) from None


def draw_inputs(session: Any, rows: int, other: int) -> dict[str, Any] | None:  # noqa: ANN401
    """Draw inputs to the signature, or ``None`` when it asks for what cannot be drawn.

    An open first dimension becomes ``rows``, any other one ``other``; floats lie in [-1, 1),
    integers are 0 or 1.
    """
    chance = np.random.default_rng(SEED)
    drawn: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    for one in session.get_inputs():
        kind = TYPES.get(one.type)
        if kind is None:
            return None
        shape = []
        for place, size in enumerate(one.shape):
            open_size = sizes.setdefault(str(size), rows if place == 0 else other)
            shape.append(size if isinstance(size, int) and size >= 0 else open_size)
        if math.prod(shape) > DRAWN_ELEMENTS_MOST:
            return None
        if kind is np.object_:
            drawn[one.name] = chance.choice(np.array(["a", "b"], dtype=object), shape)
        elif np.issubdtype(kind, np.floating):
            drawn[one.name] = chance.uniform(-1, 1, shape).astype(kind)
        else:
            drawn[one.name] = chance.integers(0, 2, shape).astype(kind)
    return drawn


def match_samples(session: Any, samples: dict[str, Any], rows: int) -> dict[str, Any]:  # noqa: ANN401
    """Give each input its sample: ``x`` where there is one input, else by name; cut to ``rows``."""
    wanted = session.get_inputs()
    matched = {}
    for one in wanted:
        array = samples.get("x") if len(wanted) == 1 and "x" in samples else samples.get(one.name)
        kind = TYPES.get(one.type)
        if array is None or kind is None:
            raise ConversionRefused("samples_unfit", f"{one.name} {one.type}")
        sizes = [size for size in one.shape if isinstance(size, int)]
        if array.ndim != len(one.shape) or not set(sizes) <= set(array.shape):
            raise ConversionRefused("samples_unfit", f"{one.name}: {array.shape}, {one.shape}")
        matched[one.name] = array[:rows].astype(kind)
    return matched


def compare(name: str, reference: Any, got: Any, rtol: float, atol: float) -> dict[str, Any]:  # noqa: ANN401
    """Say how far one output lies from its reference; ``ok`` is taken off before it is told."""
    reference, got = np.asarray(reference), np.asarray(got)
    if reference.shape != got.shape:
        return {"name": name, "max_abs": math.inf, "max_rel": math.inf, "equal": 0, "of": 0}
    if reference.dtype.kind not in "fc" or got.dtype.kind not in "fc":
        same = reference.astype(str) == got.astype(str)
        if reference.dtype.kind in "biuf" and got.dtype.kind in "biuf":
            same = reference == got
        return {
            "name": name,
            "max_abs": 0.0,
            "max_rel": 0.0,
            "equal": int(same.sum()),
            "of": same.size,
            "unequal": ~same,
        }
    wide, other = reference.astype(np.float64), got.astype(np.float64)
    finite = np.isfinite(wide)
    if not np.array_equal(wide[~finite], other[~finite], equal_nan=True):
        return {"name": name, "max_abs": math.inf, "max_rel": math.inf, "equal": 0, "of": 0}
    top = float(np.abs(wide[finite]).max(initial=0.0))
    largest = float(np.abs(wide[finite] - other[finite]).max(initial=0.0))
    allowed = rtol * top + atol
    said = {
        "name": name,
        "max_abs": largest,
        "max_rel": largest / top if top else largest,
        "equal": 0,
        "of": 0,
        "far": not largest <= allowed,
    }
    if wide.ndim == 2 and wide.shape[1] > 1:  # scores of classes: the label is the largest
        said["equal"] = int((wide.argmax(1) == other.argmax(1)).sum())
        said["of"] = wide.shape[0]
        best = np.sort(np.nan_to_num(wide), axis=1)
        said["tied"] = best[:, -1] - best[:, -2] <= 2 * allowed
    return said


def report_parity(
    source_format: str,
    tools: dict[str, str],
    count: int,
    origin: str,
    outputs: list[tuple[str, Any, Any]],
    no_scores: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Compare outputs (name, reference, got); a label may differ where its scores are tied.

    ``no_scores`` names the outputs whose largest column says nothing.
    """
    half = any(np.asarray(got).dtype == np.float16 for _, _, got in outputs)
    rtol, atol = (RTOL_HALF, ATOL_HALF) if half else (RTOL, ATOL)
    rows = [compare(name, reference, got, rtol, atol) for name, reference, got in outputs]
    tied = [row["tied"] for row in rows if "tied" in row and row["name"] not in no_scores]
    is_far = False
    for row in rows:
        if row["name"] in no_scores and "tied" in row:
            row["equal"] = row["of"] = 0
        unequal = row.get("unequal")
        if unequal is not None:
            excused = [mask for mask in tied if mask.shape == unequal.shape]
            is_far |= bool((unequal & ~excused[0] if excused else unequal).any())
        else:
            is_far |= bool(row.get("far", True))
    return {
        "source_format": source_format,
        "tools": tools,
        "inputs": count,
        "origin": origin,
        "outputs": [
            {
                "name": row["name"],
                "max_abs_nano": to_nano(row["max_abs"]),
                "max_rel_nano": to_nano(row["max_rel"]),
                "labels_equal": row["equal"],
                "labels": row["of"],
            }
            for row in rows
        ],
        "rtol_nano": to_nano(rtol),
        "atol_nano": to_nano(atol),
        "verdict": "not_shown" if not rows else "fail" if is_far else "pass",
    }


def to_nano(value: float) -> int:
    """Round up to billionths, cut where a Parity ends."""
    if not math.isfinite(value):
        return NANO_MOST
    return min(math.ceil(round(value * 1e9, 6)), NANO_MOST)


def check_model(model: Any) -> bytes:  # noqa: ANN401  onnx's ModelProto is not typed
    """Merge equal opset rows, check the model in full and return its bytes, or refuse."""
    onnx = framework("onnx")
    versions: dict[str, int] = {}
    for row in model.opset_import:
        domain = "" if row.domain == "ai.onnx" else row.domain
        if versions.setdefault(domain, row.version) != row.version:
            raise ConversionRefused("opset_twice", domain or "ai.onnx")
    del model.opset_import[:]
    for domain, version in versions.items():
        model.opset_import.append(onnx.helper.make_opsetid(domain, version))
    try:
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())
    except Exception as error:  # noqa: BLE001  checker, inference and protobuf share no other base
        raise ConversionRefused("not_valid", error) from None


def versions_of(*packages: str) -> dict[str, str]:
    """Return the version of each package, as a Parity names its tools."""
    return {name: importlib.metadata.version(name) for name in packages}


def answer_request() -> None:
    """Read one request on standard input, and print what came of it as the last line."""
    request = json.loads(sys.stdin.read())
    options = request["options"]
    answer: dict[str, Any]
    try:
        answer = {"made": convert(Path(request["source"]), Path(request["target"]), options)}
    except ConversionRefused as refusal:
        answer = {"refused": {"code": refusal.code, "values": refusal.values}}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    answer_request()
