"""From a fitted estimator to ONNX, and to what scikit-learn itself answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from skl2onnx import to_onnx

if TYPE_CHECKING:
    from collections.abc import Callable

OPSET = 18
IR_VERSION = 8  # the one that came with this opset
PRODUCER = "hanse sample models"


def from_sklearn(fitted, x_train: np.ndarray, name: str) -> onnx.ModelProto:
    options = {"zipmap": False} if hasattr(fitted, "predict_proba") else None
    model = to_onnx(fitted, x_train[:1], name=name, options=options, target_opset=OPSET)
    return stamped(model, name)


def stamped(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Take out what differs from run to run: producers, and one domain named twice."""
    model.graph.name = name
    model.producer_name, model.producer_version = PRODUCER, "1"
    model.ir_version = IR_VERSION
    model.domain, model.doc_string, model.graph.doc_string = "", "", ""
    versions = {one.domain: one.version for one in model.opset_import}
    del model.opset_import[:]
    model.opset_import.extend(
        onnx.helper.make_opsetid(domain, version) for domain, version in sorted(versions.items())
    )
    return model


def classifier_outputs(fitted) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    def predict(x: np.ndarray) -> dict[str, np.ndarray]:
        probabilities = fitted.predict_proba(x)
        return {
            "label": fitted.classes_[probabilities.argmax(axis=1)].astype(np.int64),
            "probabilities": probabilities.astype(np.float32),
        }

    return predict


def regressor_outputs(fitted) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    def predict(x: np.ndarray) -> dict[str, np.ndarray]:
        got = fitted.predict(x).astype(np.float32)
        return {"variable": got.reshape(len(x), -1)}

    return predict
