"""Make the Keras files of the tests, and the article's own file, by Keras itself.

Run with an interpreter that has ``keras``, ``torch`` and ``scikit-learn`` (never Hanse's own):

    python tests/data/make_keras_models.py

It trains on the handwritten digits that scikit-learn ships (8 x 8, 1,797 of them) and writes
``examples/image_recognition_model.h5`` with a few samples, and ``tests/data/models/``.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
MODELS = ROOT / "tests" / "data" / "models"
HELD_OUT = 397
SAMPLES = 16


def digits():
    pictures, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(7).permutation(len(labels))
    pictures = (pictures[order].reshape(-1, 8, 8, 1) / 16).astype(np.float32)
    labels = labels[order]
    return pictures[:-HELD_OUT], labels[:-HELD_OUT], pictures[-HELD_OUT:], labels[-HELD_OUT:]


def functional():
    """Branches, a strided and a depthwise convolution: what a small image network is made of."""
    start = keras.Input((8, 8, 1), name="image")
    one = layers.Conv2D(16, 3, padding="same", use_bias=False, name="conv")(start)
    one = layers.BatchNormalization(name="norm")(one)
    one = layers.ReLU(name="relu")(one)
    two = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(one)
    two = layers.BatchNormalization(name="norm_depthwise")(two)
    two = layers.ReLU(max_value=6.0, name="relu6")(two)
    both = layers.Add(name="add")([one, two])
    both = layers.MaxPooling2D(2, name="pool")(both)
    both = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu", name="down")(both)
    flat = layers.Flatten(name="flatten")(both)
    flat = layers.Dropout(0.2, name="dropout")(flat)
    flat = layers.Dense(64, activation="relu", name="dense")(flat)
    digit = layers.Dense(10, activation="softmax", name="digit")(flat)
    return keras.Model(start, digit, name="image_recognition")


def sequential():
    """The other layers that are read, one after the other."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Rescaling(2.0, offset=-1.0),
            layers.ZeroPadding2D(((1, 0), (0, 1))),
            layers.Conv2D(8, 3, dilation_rate=2, activation="tanh"),
            layers.AveragePooling2D(2, strides=1, padding="same"),
            layers.SeparableConv2D(12, 3, padding="same", activation="elu"),
            layers.LeakyReLU(negative_slope=0.1),
            layers.Reshape((25, 12)),
            layers.BatchNormalization(),
            layers.Reshape((5, 5, 12)),
            layers.Activation("silu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
            layers.Activation("softmax"),
        ],
        name="sequential_digits",
    )


def with_code():
    start = keras.Input((4,), name="x")
    double = eval(compile("lambda x: x * 2", "with_code.py", "eval"))  # the file keeps that name
    out = layers.Lambda(double, name="double_it")(start)
    return keras.Model(start, layers.Dense(2, name="out")(out), name="with_code")


def outside_the_list():
    start = keras.Input((6, 3), name="x")
    out = layers.LSTM(4, name="memory")(start)
    return keras.Model(start, layers.Dense(2, name="out")(out), name="recurrent")


def two_ends():
    """Two inputs, two outputs, a layer used twice, and merges."""
    left, right = keras.Input((5,), name="left"), keras.Input((5,), name="right")
    shared = layers.Dense(4, activation="sigmoid", name="shared")
    one, two = shared(left), shared(right)
    joined = layers.Concatenate(name="join")([one, two, layers.Multiply(name="times")([one, two])])
    return keras.Model(
        [left, right],
        [layers.Dense(3, name="first")(joined), layers.Maximum(name="second")([one, two])],
        name="two_ends",
    )


def save_samples(path, **arrays):
    np.savez_compressed(path, **{name: array.astype(np.float32) for name, array in arrays.items()})


def main():
    keras.utils.set_random_seed(7)
    EXAMPLES.mkdir(exist_ok=True)
    MODELS.mkdir(parents=True, exist_ok=True)
    x, y, x_held, y_held = digits()
    for model, name, epochs in ((functional(), "image", 40), (sequential(), "sequential", 60)):
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(x, y, batch_size=64, epochs=epochs, verbose=0)
        said = model.predict(x_held, verbose=0)
        right = np.mean(said.argmax(1) == y_held)
        print(f"{name}: {right:.4f} of {HELD_OUT} held out are right")  # noqa: T201
        if name == "image":
            model.save(EXAMPLES / "image_recognition_model.h5", include_optimizer=False)
            bare = keras.models.load_model(EXAMPLES / "image_recognition_model.h5", compile=False)
            bare.save(MODELS / "image_recognition_model.keras")  # without the optimiser's state
            save_samples(
                EXAMPLES / "image_recognition_samples.npz", x=x_held[:SAMPLES], y=said[:SAMPLES]
            )
            save_samples(MODELS / "digits_held_out.npz", x=x_held, y=said, labels=y_held)
        else:
            model.save(MODELS / "sequential_digits.h5", include_optimizer=False)
            save_samples(MODELS / "sequential_digits.npz", x=x_held[:64], y=said[:64])
    with_code().save(MODELS / "with_lambda.h5")
    with_code().save(MODELS / "with_lambda.keras")
    outside_the_list().save(MODELS / "recurrent.h5")
    ends = two_ends()
    ends.save(MODELS / "two_ends.h5")
    chance = np.random.default_rng(7)
    left, right = (chance.normal(size=(9, 5)).astype(np.float32) for _ in range(2))
    first, second = ends.predict([left, right], verbose=0)
    save_samples(MODELS / "two_ends.npz", left=left, right=right, first=first, second=second)


if __name__ == "__main__":
    main()
