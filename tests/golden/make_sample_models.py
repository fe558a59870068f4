"""Writes ``resources/sample_models``: graph, sample rows, golden vectors and figures of each model.

Run as ``python -m tests.golden.make_sample_models`` and read the difference before it is kept;
the ``card.toml`` beside them are written by hand and stay.  With the locked packages the
result is the same byte for byte on one kind of processor, however many cores it has; another
kind may differ in the last digits of what is fitted, and so in the bytes.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import tomli_w
from onnx import TensorProto, helper
from threadpoolctl import threadpool_limits

from tests.golden.sample_recipes.finance import fraud_detection, insurance_risk
from tests.golden.sample_recipes.image import image_recognition
from tests.golden.sample_recipes.manufacturing import (
    predictive_maintenance,
    production_optimisation,
)
from tests.golden.sample_recipes.medical import diagnosis, treatment_suggestion
from tests.golden.sample_recipes.retail import (
    demand_forecast,
    demand_forecast_linear,
    recommender,
)
from tests.golden.sample_recipes.survey import customer_satisfaction

if TYPE_CHECKING:
    from tests.golden.sample_recipes.kinds import Figure, Outputs, Port, Recipe

FOLDER = Path(__file__).parents[2] / "resources" / "sample_models"
GOLDEN_ROWS = 16
TOOLS = ("numpy", "scikit-learn", "skl2onnx", "onnx")
RECIPES = (
    image_recognition,
    fraud_detection,
    insurance_risk,
    diagnosis,
    treatment_suggestion,
    demand_forecast,
    demand_forecast_linear,
    recommender,
    customer_satisfaction,
    predictive_maintenance,
    production_optimisation,
)


def finished(recipe: Recipe) -> bytes:
    """Name the graph's input, or part it, and say in its metadata what the columns are."""
    model, graph = recipe.model, recipe.model.graph
    (old,) = (one.name for one in graph.input)
    if recipe.apart:
        del graph.input[:]
        graph.input.extend(
            helper.make_tensor_value_info(one.name, TensorProto.FLOAT, [None, 1])
            for one in recipe.features
        )
        names = [one.name for one in recipe.features]
        graph.node.insert(0, helper.make_node("Concat", names, [old], axis=1))
    elif old != recipe.input.name:
        graph.input[0].name = recipe.input.name
        for node in graph.node:
            for at, name in enumerate(node.input):
                if name == old:
                    node.input[at] = recipe.input.name
    said = {"columns": json.dumps([one.name for one in recipe.features])}
    if recipe.labels:
        said["labels"] = json.dumps([en for en, _ in recipe.labels])
    helper.set_model_props(model, said)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def inputs_of(recipe: Recipe, x: np.ndarray) -> dict[str, np.ndarray]:
    if recipe.apart:
        return {one.name: x[:, at : at + 1] for at, one in enumerate(recipe.features)}
    return {recipe.input.name: x}


def run(recipe: Recipe, raw: bytes) -> Outputs:
    session = onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    assert names == [one.name for one in recipe.outputs]
    return dict(zip(names, session.run(names, inputs_of(recipe, recipe.x_test)), strict=True))


def sample_csv(recipe: Recipe) -> bytes:
    rows = recipe.sample_rows
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*recipe.columns, *(one.name for one in recipe.features), *recipe.target])
    for at in range(min(rows, len(recipe.x_test))):
        numbers = [written(value) for value in recipe.x_test[at]]
        truth = [f"{v:.4f}" if recipe.y_test.dtype.kind == "f" else v for v in recipe.y_test[at]]
        writer.writerow([*(column[at] for column in recipe.columns.values()), *numbers, *truth])
    return text.getvalue().encode()


def written(value: np.generic) -> str:
    """Write a number as short as can be, so that reading it gives the same one."""
    text = str(value) if value.dtype.kind == "i" else np.format_float_positional(value, trim="-")
    assert type(value)(text) == value, (value, text)
    return text


def compared_to(ref: Outputs, got: Outputs, name: str) -> None:
    for output, expected in ref.items():
        assert got[output].dtype == expected.dtype, (name, output)
        assert np.allclose(got[output], expected, rtol=1e-5, atol=1e-5), (name, output)


def micro(value: float) -> int:
    return round(value * 1_000_000)


def row_of(figure: Figure, data: str, rows: int) -> dict[str, object]:
    row: dict[str, object] = {
        "data": data,
        "rows": rows,
        "metric": figure.metric,
        "value_micro": micro(figure.value),
        "low_micro": micro(figure.low),
        "high_micro": micro(figure.high),
    }
    if figure.slice:
        row["slice"] = figure.slice
    if figure.threshold is not None:
        row["threshold_micro"] = micro(figure.threshold)
    return row


def described(port: Port) -> dict[str, str]:
    return {"name": port.name, "en": port.en, "zh": port.zh, "unit": port.unit}


def make(recipe: Recipe) -> None:
    folder = FOLDER / recipe.id
    raw = finished(recipe)
    got, ref = run(recipe, raw), recipe.predict(recipe.x_test)
    compared_to(ref, got, recipe.id)
    rows = min(recipe.sample_rows, len(recipe.x_test))
    table = sample_csv(recipe)
    few = slice(0, GOLDEN_ROWS)
    golden = inputs_of(recipe, recipe.x_test[few]) | {k: v[few] for k, v in ref.items()}
    (folder / "model.onnx").write_bytes(raw)
    (folder / "sample.csv").write_bytes(table)
    np.savez_compressed(folder / "samples.npz", allow_pickle=False, **golden)

    def measured(first: int) -> list[Figure]:
        return recipe.measure(
            {name: values[:first] for name, values in got.items()},
            recipe.y_test[:first],
            {name: values[:first] for name, values in recipe.columns.items()},
        )

    total = len(recipe.x_test)
    figures = [row_of(one, "sample.csv", rows) for one in measured(rows)]
    if total > rows:
        figures += [row_of(one, "held_out", total) for one in measured(total)]
    document = {
        "id": recipe.id,
        "seed": recipe.seed,
        "train_rows": recipe.train_rows,
        "test_rows": total,
        "sample_rows": rows,
        "target": list(recipe.target),
        "sha256": {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in ("model.onnx", "sample.csv", "samples.npz")
        },
        "tools": {name: importlib.metadata.version(name) for name in TOOLS},
        "input": described(recipe.input)
        | {"dtype": str(recipe.x_test.dtype), "apart": recipe.apart},
        "column": [
            {
                "name": one.name,
                "en": one.en,
                "zh": one.zh,
                "unit": one.unit,
                "low_micro": micro(one.low),
                "high_micro": micro(one.high),
            }
            for one in recipe.features
        ],
        "output": [
            described(one)
            | {"dtype": str(ref[one.name].dtype), "width": (*ref[one.name].shape, 0)[1]}
            for one in recipe.outputs
        ],
        "label": [{"en": en, "zh": zh} for en, zh in recipe.labels],
        "figure": figures,
        "compared": [
            {"rule": one.slice, "metric": one.metric, "value_micro": micro(one.value)}
            for one in recipe.compared
        ],
    }
    head = "# Written by tests/golden/make_sample_models.py; figures in millionths.\n"
    (folder / "figures.toml").write_text(head + tomli_w.dumps(document), "utf-8")


if __name__ == "__main__":
    onnxruntime.set_default_logger_severity(3)
    with threadpool_limits(1):  # sums on more threads end in other digits
        for maker in RECIPES:
            make(maker())
