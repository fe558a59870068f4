"""The reference of what Keras wrote is what Keras said; of what is written here, plain numpy."""

from __future__ import annotations

import json

import h5py
import numpy as np
import onnx
import pytest

from hanse.core.model.running import ConversionRefused
from tests.fakes.converting import (
    EXAMPLES,
    MODELS,
    convert_here,
    prepare_by_worker,
    refusal_of,
    run_onnx,
)

ARTICLE = EXAMPLES / "image_recognition_model.h5"
CHANCE = np.random.default_rng(3)


# --- files that Keras 3 wrote -------------------------------------------------------------------


def test_the_file_of_the_article_becomes_onnx_that_agrees_with_keras(tmp_path):
    held_out = MODELS / "digits_held_out.npz"
    before = ARTICLE.read_bytes()
    prepared = prepare_by_worker(tmp_path, ARTICLE, held_out, extras=frozenset({"keras"}))
    assert prepared.kept
    assert ARTICLE.read_bytes() == before
    parity = prepared.parity
    assert (parity.verdict, parity.origin, parity.inputs) == ("pass", "seller", 397)
    assert (parity.outputs[0].labels_equal, parity.outputs[0].labels) == (397, 397)
    assert parity.outputs[0].max_abs_nano < 5_000
    samples = np.load(held_out)
    made = prepared.files["image_recognition_model.onnx"]
    (said,) = run_onnx(made, {"image": samples["x"]})
    np.testing.assert_allclose(said, samples["y"], atol=5e-6)
    assert np.mean(said.argmax(1) == samples["labels"]) > 0.95
    model = onnx.load(made)
    assert model.opset_import[0].version == 18
    assert [one.name for one in model.graph.output] == ["digit"]


def test_the_samples_of_the_article_fit_its_file(tmp_path):
    samples = EXAMPLES / "image_recognition_samples.npz"
    made = convert_here(tmp_path, "keras_h5", ARTICLE, samples)
    assert made["parity"]["verdict"] == "pass"


def test_the_article_needs_few_transposes(tmp_path):
    convert_here(tmp_path, "keras_h5", ARTICLE)
    nodes = onnx.load(tmp_path / "out.onnx").graph.node
    assert sum(node.op_type == "Transpose" for node in nodes) == 2


@pytest.mark.parametrize("name", ["sequential_digits", "two_ends"])
def test_other_files_of_keras_agree(tmp_path, name):
    made = convert_here(tmp_path, "keras_h5", MODELS / f"{name}.h5", MODELS / f"{name}.npz")
    assert made["parity"]["verdict"] == "pass"
    assert all(row["max_abs_nano"] < 5_000 for row in made["parity"]["outputs"])
    assert len(made["parity"]["outputs"]) == (2 if name == "two_ends" else 1)


def test_without_samples_no_parity_is_shown(tmp_path):
    made = convert_here(tmp_path, "keras_h5", ARTICLE)
    assert made["parity"]["verdict"] == "not_shown"
    assert made["parity"]["origin"] == "none"
    assert made["notes"] == ["no_samples"]


def test_other_outputs_fail_the_parity(tmp_path):
    samples = dict(np.load(EXAMPLES / "image_recognition_samples.npz"))
    samples["y"] = np.roll(samples["y"], 1, axis=1)
    made = convert_here(tmp_path, "keras_h5", ARTICLE, samples)
    assert made["parity"]["verdict"] == "fail"


def test_code_is_refused_by_the_name_of_its_layer(tmp_path):
    with pytest.raises(ConversionRefused) as refusal:
        prepare_by_worker(tmp_path, MODELS / "with_lambda.h5")
    assert (refusal.value.reason, refusal.value.detail) == ("code", "double_it (Lambda)")


def test_a_layer_outside_the_list_is_refused_by_name(tmp_path):
    with pytest.raises(ConversionRefused) as refusal:
        prepare_by_worker(tmp_path, MODELS / "recurrent.h5", extras=frozenset({"keras"}))
    assert (refusal.value.reason, refusal.value.detail) == ("layer", "memory (LSTM)")


# --- files written here -------------------------------------------------------------------------


def layer(kind, name, **config):
    return {"class_name": kind, "config": {"name": name, **config}}


def start(*shape):
    return layer("InputLayer", "x", batch_input_shape=[None, *shape])


def chained(*layers, name="net"):
    return {"class_name": "Sequential", "config": {"name": name, "layers": list(layers)}}


def functional(layers, ends, starts=(("x", 0, 0),)):
    config = {
        "name": "net",
        "layers": layers,
        "input_layers": [list(one) for one in starts],
        "output_layers": [list(one) for one in ends],
    }
    return {"class_name": "Functional", "config": config}


def joined(kind, name, *inputs, **config):
    """A layer with the connections of Keras 2."""
    nodes = [[[one, 0, 0, {}] for one in inputs]] if inputs else []
    return {**layer(kind, name, **config), "name": name, "inbound_nodes": nodes}


def write(path, configuration, weights=None, version="2.15.0"):
    """Write a file with the conventions of Keras 2: ``layer/layer/weight:0``."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(configuration)
        file.attrs["keras_version"] = version
        root = file.create_group("model_weights")
        for name, array in (weights or {}).items():
            owner, _, weight = name.partition("/")
            root[f"{owner}/{owner}/{weight}:0"] = np.asarray(array, np.float32)
    return path


def run_layers(tmp_path, x, *layers, weights=None):
    path = write(tmp_path / "m.h5", chained(start(*x.shape[1:]), *layers), weights)
    convert_here(tmp_path / "here", "keras_h5", path)
    (got,) = run_onnx(tmp_path / "here" / "out.onnx", {"x": x})
    return got


def draw(*shape):
    return CHANCE.normal(size=shape).astype(np.float32)


def windows(x, size, strides, padding, fill=0.0, dilation=1):
    """Give every window of a picture, and how many of its places are not padding."""
    rows, columns = x.shape[1:3]
    reach = [(one - 1) * dilation + 1 for one in size]
    pads = [(0, 0), (0, 0)]
    if padding == "same":
        for axis, length in enumerate((rows, columns)):
            out = -(-length // strides[axis])
            total = max(0, (out - 1) * strides[axis] + reach[axis] - length)
            pads[axis] = (total // 2, total - total // 2)
    padded = np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=fill)
    inside = np.pad(np.ones_like(x), [(0, 0), *pads, (0, 0)])
    for i in range((padded.shape[1] - reach[0]) // strides[0] + 1):
        for j in range((padded.shape[2] - reach[1]) // strides[1] + 1):
            at = np.s_[
                :,
                i * strides[0] : i * strides[0] + reach[0] : dilation,
                j * strides[1] : j * strides[1] + reach[1] : dilation,
            ]
            yield i, j, padded[at], inside[at]


def slide(x, size, strides, padding, function, fill=0.0, dilation=1):
    found = {
        (i, j): function(part, inside)
        for i, j, part, inside in windows(x, size, strides, padding, fill, dilation)
    }
    rows, columns = (max(axis) + 1 for axis in zip(*found, strict=True))
    return np.stack([np.stack([found[i, j] for j in range(columns)], 1) for i in range(rows)], 1)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("size", "strides", "dilation"), [((3, 2), (2, 3), 1), ((2, 2), (1, 1), 2), ((1, 4), (1, 1), 1)]
)
def test_a_convolution_is_what_numpy_says(tmp_path, padding, size, strides, dilation):
    x, kernel, bias = draw(2, 7, 9, 3), draw(*size, 3, 5), draw(5)
    got = run_layers(
        tmp_path,
        x,
        layer(
            "Conv2D",
            "c",
            filters=5,
            kernel_size=list(size),
            strides=list(strides),
            padding=padding,
            dilation_rate=[dilation, dilation],
        ),
        weights={"c/kernel": kernel, "c/bias": bias},
    )
    expected = slide(
        x,
        size,
        strides,
        padding,
        lambda part, _: np.einsum("nijc,ijco->no", part, kernel) + bias,
        dilation=dilation,
    )
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_groups_and_depth_multipliers_are_what_numpy_says(tmp_path):
    x, kernel, deep = draw(2, 5, 5, 4), draw(3, 3, 2, 6), draw(2, 2, 6, 3)
    got = run_layers(
        tmp_path,
        x,
        layer("Conv2D", "c", filters=6, kernel_size=3, groups=2, use_bias=False),
        layer("DepthwiseConv2D", "d", kernel_size=2, depth_multiplier=3, use_bias=False),
        weights={"c/kernel": kernel, "d/depthwise_kernel": deep},
    )
    halves = [
        slide(
            x[..., 2 * half : 2 * half + 2],
            (3, 3),
            (1, 1),
            "valid",
            lambda part, _, half=half: np.einsum(
                "nijc,ijco->no", part, kernel[..., 3 * half : 3 * half + 3]
            ),
        )
        for half in range(2)
    ]
    middle = np.concatenate(halves, axis=-1)
    expected = slide(
        middle,
        (2, 2),
        (1, 1),
        "valid",
        lambda part, _: np.einsum("nijc,ijcm->ncm", part, deep).reshape(len(x), -1),
    )
    np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["MaxPooling2D", "AveragePooling2D"])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_pools_leave_padding_out(tmp_path, kind, padding):
    x = draw(2, 5, 6, 3) - 3
    got = run_layers(tmp_path, x, layer(kind, "p", pool_size=[3, 2], padding=padding))
    if kind == "MaxPooling2D":
        expected = slide(x, (3, 2), (3, 2), padding, lambda p, _: p.max((1, 2)), fill=-np.inf)
    else:
        expected = slide(
            x, (3, 2), (3, 2), padding, lambda p, inside: p.sum((1, 2)) / inside.sum((1, 2))
        )
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_flatten_keeps_the_order_of_keras_after_a_convolution(tmp_path):
    x, kernel = draw(2, 3, 4, 2), draw(1, 1, 2, 5)
    got = run_layers(
        tmp_path,
        x,
        layer("Conv2D", "c", filters=5, kernel_size=1, use_bias=False),
        layer("Flatten", "f"),
        weights={"c/kernel": kernel},
    )
    np.testing.assert_allclose(got, (x @ kernel[0, 0]).reshape(2, -1), atol=1e-5)


def norm(x, gamma, beta, mean, variance, epsilon):
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


@pytest.mark.parametrize("shape", [(6,), (3, 6), (4, 5, 6)])
def test_batch_normalisation_works_along_the_last_axis(tmp_path, shape):
    x, gamma, beta, mean, variance = draw(3, *shape), draw(6), draw(6), draw(6), draw(6) ** 2
    got = run_layers(
        tmp_path,
        x,
        layer("BatchNormalization", "b", axis=[len(shape)], epsilon=0.01),
        weights={
            "b/gamma": gamma,
            "b/beta": beta,
            "b/moving_mean": mean,
            "b/moving_variance": variance,
        },
    )
    np.testing.assert_allclose(got, norm(x, gamma, beta, mean, variance, 0.01), atol=1e-4)


SIGMOID = {"exp": lambda x: 1 / (1 + np.exp(-x))}["exp"]
SHAPELESS = [
    (layer("ReLU", "a", max_value=0.5), lambda x: np.clip(x, 0, 0.5)),
    (layer("ReLU", "a", negative_slope=0.25), lambda x: np.where(x < 0, 0.25 * x, x)),
    (layer("LeakyReLU", "a", alpha=0.125), lambda x: np.where(x < 0, 0.125 * x, x)),
    (layer("ELU", "a", alpha=2.0), lambda x: np.where(x < 0, 2 * np.expm1(x), x)),
    (layer("Activation", "a", activation="tanh"), np.tanh),
    (layer("Activation", "a", activation="sigmoid"), SIGMOID),
    (layer("Activation", "a", activation="swish"), lambda x: x * SIGMOID(x)),
    (layer("Activation", "a", activation="relu6"), lambda x: np.clip(x, 0, 6)),
    (
        layer("Activation", "a", activation="hard_sigmoid"),
        lambda x: np.clip(0.2 * x + 0.5, 0, 1),  # as Keras 2 has it
    ),
    (layer("Activation", "a", activation="linear"), lambda x: x),
    (layer("Dropout", "a", rate=0.5), lambda x: x),
    (layer("Rescaling", "a", scale=0.5, offset=[1.0, 2.0]), lambda x: x * 0.5 + [1, 2]),
    (
        layer("Softmax", "a", axis=-1),
        lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
    ),
    (
        layer("ZeroPadding2D", "a", padding=[[1, 2], [0, 3]]),
        lambda x: np.pad(x, [(0, 0), (1, 2), (0, 3), (0, 0)]),
    ),
    (layer("GlobalMaxPooling2D", "a"), lambda x: x.max((1, 2))),
    (layer("GlobalAveragePooling2D", "a", keepdims=True), lambda x: x.mean((1, 2), keepdims=True)),
    (layer("Reshape", "a", target_shape=[2, -1]), lambda x: x.reshape(len(x), 2, -1)),
]


@pytest.mark.parametrize(
    ("one", "expected"),
    SHAPELESS,
    ids=lambda one: str(one)[:60] if isinstance(one, dict) else "numpy",
)
def test_a_layer_without_weights_is_what_numpy_says(tmp_path, one, expected):
    x = draw(2, 4, 3, 2)
    np.testing.assert_allclose(run_layers(tmp_path, x, one), expected(x), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("Add", lambda a, b: a + b),
        ("Subtract", lambda a, b: a - b),
        ("Multiply", lambda a, b: a * b),
        ("Average", lambda a, b: (a + b) / 2),
        ("Maximum", np.maximum),
        ("Minimum", np.minimum),
        ("Concatenate", lambda a, b: np.concatenate([a, b], -1)),
    ],
)
def test_merges_of_keras_2_are_what_numpy_says(tmp_path, kind, expected):
    x, kernel = draw(2, 3, 4, 2), draw(1, 1, 2, 2)
    layers = [
        {**start(3, 4, 2), "name": "x", "inbound_nodes": []},
        joined("Conv2D", "c", "x", filters=2, kernel_size=[1, 1], use_bias=False),
        joined("ReLU", "r", "x"),
        joined(kind, "m", "c", "r"),
    ]
    path = write(tmp_path / "m.h5", functional(layers, [("m", 0, 0)]), {"c/kernel": kernel})
    convert_here(tmp_path / "here", "keras_h5", path)
    (got,) = run_onnx(tmp_path / "here" / "out.onnx", {"x": x})
    np.testing.assert_allclose(got, expected(x @ kernel[0, 0], np.maximum(x, 0)), atol=1e-5)


def test_open_picture_sizes_are_carried_through(tmp_path):
    layers = [
        layer("InputLayer", "x", batch_shape=[None, None, None, 1]),
        layer("Conv2D", "c", filters=2, kernel_size=3, padding="same", use_bias=False),
        layer("GlobalAveragePooling2D", "g"),
    ]
    path = write(tmp_path / "m.h5", chained(*layers), {"c/kernel": draw(3, 3, 1, 2)})
    convert_here(tmp_path / "here", "keras_h5", path)
    for rows in (5, 8):
        (got,) = run_onnx(tmp_path / "here" / "out.onnx", {"x": draw(2, rows, 6, 1)})
        assert got.shape == (2, 2)


# --- files meant to hurt ------------------------------------------------------------------------

DENSE = chained(start(3), layer("Dense", "d", units=2))
GOOD = {"d/kernel": np.ones((3, 2)), "d/bias": np.zeros(2)}


def refused(tmp_path, path, **options):
    return refusal_of(tmp_path / "here", "keras_h5", path, **options)


def test_a_small_good_file_is_converted(tmp_path):
    convert_here(tmp_path / "here", "keras_h5", write(tmp_path / "m.h5", DENSE, GOOD))


@pytest.mark.parametrize("link", [h5py.SoftLink("/elsewhere"), h5py.ExternalLink("b.h5", "/a")])
def test_links_out_of_the_file_are_refused(tmp_path, link):
    path = write(tmp_path / "m.h5", DENSE, {"d/kernel": GOOD["d/kernel"]})
    with h5py.File(path, "a") as file:
        file["model_weights/d/d/bias:0"] = link
    assert refused(tmp_path, path) == ("link", "/model_weights/d/d/bias:0")


def test_a_group_inside_itself_is_refused(tmp_path):
    path = write(tmp_path / "m.h5", DENSE, GOOD)
    with h5py.File(path, "a") as file:
        file["model_weights/d/again"] = file["model_weights"]
    assert refused(tmp_path, path)[0] == "link"


def test_an_array_in_another_file_is_refused(tmp_path):
    (tmp_path / "secret.bin").write_bytes(bytes(8))
    path = write(tmp_path / "m.h5", DENSE, {"d/kernel": GOOD["d/kernel"]})
    with h5py.File(path, "a") as file:
        file["model_weights/d/d"].create_dataset(
            "bias:0", (2,), "f4", external=[(str(tmp_path / "secret.bin"), 0, 8)]
        )
    assert refused(tmp_path, path)[0] == "stored_elsewhere"


def test_a_virtual_array_is_refused(tmp_path):
    path = write(tmp_path / "m.h5", DENSE, {"d/kernel": GOOD["d/kernel"]})
    layout = h5py.VirtualLayout((2,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "a", (2,))
    with h5py.File(path, "a") as file:
        file["model_weights/d/d"].create_virtual_dataset("bias:0", layout)
    assert refused(tmp_path, path)[0] == "stored_elsewhere"


@pytest.mark.parametrize("packed", [{"compression": "gzip", "chunks": (1024, 1024)}, {}])
def test_an_array_that_unpacks_to_too_much_is_refused_unread(tmp_path, packed):
    many = 32_768
    configuration = chained(start(many), layer("Dense", "d", units=many, use_bias=False))
    path = write(tmp_path / "m.h5", configuration)
    with h5py.File(path, "a") as file:
        file.create_dataset("model_weights/d/d/kernel:0", (many, many), "f4", **packed)
    assert refused(tmp_path, path)[0] == "weights_too_large"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"d/kernel": np.full((3, 2), np.nan)}, "weights_not_finite"),
        ({"d/bias": np.array([1, np.inf])}, "weights_not_finite"),
        ({"d/kernel": np.ones((2, 3))}, "weights_shape"),
        ({"d/kernel": np.ones(6)}, "weights_shape"),
        ({"d/kernel": None}, "weights_missing"),
        ({"d/deeper/kernel": np.ones((3, 2))}, "weights_twice"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(tmp_path, change, word):
    weights = {name: array for name, array in {**GOOD, **change}.items() if array is not None}
    found, what = refused(tmp_path, write(tmp_path / "m.h5", DENSE, weights))
    assert found == word
    assert what.startswith("d/")


def test_whole_numbers_are_no_weights(tmp_path):
    path = write(tmp_path / "m.h5", DENSE, {"d/kernel": GOOD["d/kernel"]})
    with h5py.File(path, "a") as file:
        file["model_weights/d/d/bias:0"] = np.zeros(2, np.int64)
    assert refused(tmp_path, path)[0] == "weights_type"


def nested(depth):
    value = {}
    for _ in range(depth):
        value = {"a": value}
    return value


WRONG = [
    (chained(start(3), layer("Dense", "d", units=2, extra=nested(70))), "config_too_deep"),
    (chained(start(3), layer("Dense", "d", units=2, extra="x" * 5_000_000)), "config_too_large"),
    (chained(start(3), *[layer("ReLU", f"r{n}") for n in range(6000)]), "too_many_layers"),
    (chained(start(3), layer("Custom>Thing", "t")), "layer"),
    (chained(start(3), {**layer("Dense", "d", units=2), "module": "evil.keras"}), "layer"),
    (chained(start(3), {**layer("Dense", "d", units=2), "registered_name": "a>Dense"}), "layer"),
    (chained(start(3), chained(layer("Lambda", "inner"), name="outer")), "code"),
    (chained(start(3), layer("Activation", "a", activation="mine")), "activation"),
    (chained(start(3), layer("Dense", "d", units=2, dtype="float16")), "setting"),
    (chained(start(3), layer("Dense", "d", units=-2)), "setting"),
    (chained(start(3), layer("Dense", "d", units=True)), "setting"),
    (chained(start(3), layer("Dense", "d", units=10**30)), "setting"),
    (chained(start(3), layer("Conv2D", "c", filters=2, kernel_size=3)), "shape"),
    (chained(start(2, 2, 1), layer("Conv2D", "c", filters=2, kernel_size=3)), "weights_missing"),
    (chained(start(2, 2, 1), layer("MaxPooling2D", "p", pool_size=3)), "shape"),
    (chained(start(4), layer("Reshape", "r", target_shape=[3])), "setting"),
    (chained(start(4), layer("Reshape", "r", target_shape=[0, -1])), "setting"),
    (chained(start(3), layer("ReLU", "r"), layer("ReLU", "r")), "graph"),
    (chained(layer("ReLU", "r")), "setting"),
    (chained(), "graph"),
    ({"class_name": "Sequential", "config": 3}, "no_config"),
    ({"class_name": "Mine", "config": {"layers": []}}, "layer"),
    ([], "no_config"),
    ({"class_name": ["Sequential"], "config": {}}, "unreadable"),
]


@pytest.mark.parametrize(("configuration", "word"), WRONG, ids=[word for _, word in WRONG])
def test_a_configuration_that_means_nothing_is_refused(tmp_path, configuration, word):
    assert refused(tmp_path, write(tmp_path / "m.h5", configuration))[0] == word


def connected(*layers, ends=(("b", 0, 0),)):
    first = {**start(3), "name": "x", "inbound_nodes": []}
    return functional([first, *layers], ends)


GRAPHS = [
    (connected(joined("ReLU", "a", "b"), joined("ReLU", "b", "a")), "circle"),
    (connected(joined("Add", "b", "b", "x")), "circle"),
    (connected(joined("ReLU", "b", "nowhere")), "graph"),
    (connected(joined("ReLU", "b", "x"), ends=[("b", 3, 0)]), "graph"),
    (connected(joined("ReLU", "b", "x"), ends=[("b", 0, 1)]), "graph"),
    (connected(joined("ReLU", "b", "x"), ends=[]), "graph"),
    (connected(joined("ReLU", "b", "x", "x")), "graph"),
    (connected(joined("Add", "b", "x")), "graph"),
    (connected({**joined("ReLU", "b"), "inbound_nodes": "x"}), "graph"),
    (connected({**joined("ReLU", "b"), "inbound_nodes": [[["x", 0, 0, {"y": 1}]]]}), "graph"),
    (connected({**joined("ReLU", "b"), "inbound_nodes": [[["x", "0", 0]]]}), "graph"),
]


@pytest.mark.parametrize(("configuration", "word"), GRAPHS)
def test_connections_that_do_not_fit_are_refused(tmp_path, configuration, word):
    assert refused(tmp_path, write(tmp_path / "m.h5", configuration))[0] == word


def test_a_long_chain_needs_no_recursion(tmp_path):
    layers = [joined("ReLU", "r0", "x")]
    layers += [joined("ReLU", f"r{n}", f"r{n - 1}") for n in range(1, 1500)]
    path = write(tmp_path / "m.h5", connected(*layers, ends=[("r1499", 0, 0)]))
    convert_here(tmp_path / "here", "keras_h5", path)


def test_weights_alone_are_no_model(tmp_path):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file["d/kernel:0"] = np.ones(3)
    assert refused(tmp_path, path)[0] == "no_config"


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.5, 0.9])
def test_half_a_file_is_refused(tmp_path, share):
    whole = ARTICLE.read_bytes()
    path = tmp_path / "m.h5"
    path.write_bytes(whole[: int(len(whole) * share)])
    assert refused(tmp_path, path)[0] == "unreadable"


def test_too_many_objects_are_refused(tmp_path):
    assert refused(tmp_path, ARTICLE, objects=10)[0] == "too_many_objects"
