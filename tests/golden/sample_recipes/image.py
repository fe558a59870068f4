"""The sample of the article itself: handwritten digits, 8 x 8 pixels, real data."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from tests.golden.sample_recipes.conversion import classifier_outputs, from_sklearn
from tests.golden.sample_recipes.kinds import Feature, Port, Recipe
from tests.golden.sample_recipes.measures import accuracy, macro_f1, resampled

SEED = 20_101
CHINESE = "零一二三四五六七八九"


def image_recognition() -> Recipe:
    data = load_digits()
    pixels = data.data.astype(np.float32)
    digits = data.target.astype(np.int64)
    x_train, x_test, y_train, y_test = train_test_split(
        pixels, digits, test_size=0.3, random_state=SEED, stratify=digits
    )
    fitted = make_pipeline(
        MaxAbsScaler(),
        MLPClassifier((48,), alpha=0.01, max_iter=1000, tol=1e-3, random_state=SEED),
    ).fit(x_train, y_train)
    features = tuple(
        Feature(
            f"r{row}c{column}",
            f"ink of the pixel in row {row}, column {column}",
            f"第 {row} 行第 {column} 列像素的墨量",
            "",
            0,
            16,
        )
        for row in range(8)
        for column in range(8)
    )

    def measure(out, truth, _):
        labels = out["label"]
        return [
            accuracy(labels, truth[:, 0]),
            resampled("macro_f1", macro_f1, labels, truth[:, 0], seed=SEED),
        ]

    return Recipe(
        id="image-recognition",
        seed=SEED,
        input=Port(
            "pixels",
            "8 x 8 pixels, row by row, ink from 0 to 16",
            "8 乘 8 像素，逐行排列，墨量 0 到 16",
        ),
        features=features,
        outputs=(
            Port("label", "the digit seen", "识别出的数字"),
            Port(
                "probabilities", "one probability for each digit 0 to 9", "数字 0 到 9 各自的概率"
            ),
        ),
        labels=tuple((str(digit), CHINESE[digit]) for digit in range(10)),
        target=("digit",),
        model=from_sklearn(fitted, x_train, "image_recognition"),
        predict=classifier_outputs(fitted),
        x_test=x_test,
        y_test=y_test[:, None],
        measure=measure,
        train_rows=len(x_train),
    )
