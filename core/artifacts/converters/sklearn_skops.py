"""Convert a scikit-learn estimator kept by ``skops`` to ONNX.

* Nothing is loaded before every type the file names is known to be data, by skops, by the list
  here, or by the seller's word for exactly that type.
* The reference of the Parity is the loaded estimator itself, on the seller's samples or drawn rows.
* What skl2onnx has no rule for is refused by its name.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hanse.core.artifacts.converters.answering import (
    ConversionRefused,
    bound,
    check_size,
    check_zip,
    framework,
    versions_of,
)
from hanse.core.artifacts.converters.parity import (
    DRAWN_ELEMENTS_MOST,
    SEED,
    check_model,
    open_session,
    read_samples,
    report_parity,
    run,
)

if TYPE_CHECKING:
    from pathlib import Path

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
