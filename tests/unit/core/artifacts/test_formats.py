from __future__ import annotations

import bz2
import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from hanse.core.artifacts import formats
from hanse.core.artifacts.formats import FormatRefused, recognise, recognise_artifact
from hanse.core.errors import FileUnreadable
from hanse.core.limits import RECOGNISE_SIZE_BYTES_MAX
from tests.hostile.header_models import gguf, row, safetensors
from tests.hostile.onnx_models import onnx_bytes
from tests.hostile.pickled_models import keras_zip, payload, torch_zip, zipped
from tests.hostile.tflite_models import tflite

WEIGHTS = safetensors({"a": row(0, 16)}, bytes(16))


def tarred() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as packed:
        packed.addfile(tarfile.TarInfo("a"), io.BytesIO())
    return stream.getvalue()


def put(tmp_path, name, raw):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    ("name", "raw", "found"),
    [
        ("m.onnx", onnx_bytes(), "onnx"),
        ("m.tflite", tflite(), "tflite"),
        ("m.gguf", gguf(), "gguf"),
        ("m.safetensors", WEIGHTS, "safetensors"),
        ("m.safetensors", safetensors({}), "safetensors"),
        ("m.skops", zipped({"schema.json": b"{}", "0.npy": b""}), "skops"),
        ("m.h5", b"\x89HDF\r\n\x1a\n", "keras_h5"),
        ("m.keras", keras_zip([]), "keras"),
        ("m.pt2", zipped({"m/archive_format": b"pt2", "m/data/x.pt": b""}), "pt2"),
        ("m.pt2", zipped({"serialized_exported_program.json": b"{}", "version": b"1"}), "pt2"),
        ("saved_model.pb", b"\x08\x01\x12\x02\x0a\x00", "savedmodel"),
        ("m.ort", b"\x20\0\0\0ORTM", "ort"),
        ("m.npy", b"\x93NUMPY\x01\x00", "npy"),
        ("m.npz", zipped({"a.npy": b"", "b.npy": b""}), "npz"),
        ("m.zip", zipped({"a.txt": b""}), "archive"),
        ("m.zip", zipped({}), "archive"),
        ("m.tar", tarred(), "archive"),
        ("m.tar.gz", gzip.compress(tarred(), mtime=0), "archive"),
        ("m.bz2", bz2.compress(b"words"), "archive"),
        ("m.rar", b"Rar!\x1a\x07\x01\x00", "archive"),
        ("m.7z", b"7z\xbc\xaf\x27\x1c", "archive"),
        ("m.zst", b"\x28\xb5\x2f\xfd\x00", "archive"),
        ("m.pkl", b"\x80\x05K\x01.", "pickle"),
        ("m.pkl", b"(lp0\nI1\na.", "pickle"),
        ("labels.txt", b"cat\ndog\nbird\nfish\n", "unknown"),
        ("labels.txt", b"N. America\nS. America\n", "unknown"),
        ("config.json", b'{"a": 1}', "unknown"),
        ("weights.bin", bytes(1000), "unknown"),
        ("README", b"# A model\n", "unknown"),
    ],
    ids=lambda one: one if isinstance(one, str) else "bytes",
)
def test_bytes_tell_the_format(name, raw, found, tmp_path):
    assert recognise(put(tmp_path, name, raw)) == found


@pytest.mark.parametrize("name", ["m.bin", "m", "m.model", "m.weights"])
@pytest.mark.parametrize(
    ("raw", "found"),
    [(onnx_bytes(), "onnx"), (WEIGHTS, "safetensors"), (gguf(), "gguf"), (tflite(), "tflite")],
    ids=["onnx", "safetensors", "gguf", "tflite"],
)
def test_a_name_that_says_nothing_changes_nothing(name, raw, found, tmp_path):
    assert recognise(put(tmp_path, name, raw)) == found


@pytest.mark.parametrize("suffix", sorted({*formats._BY_NAME} - {".pb"}))
def test_every_name_that_says_a_format_refuses_another(suffix, tmp_path):
    other = tflite() if suffix != ".tflite" else WEIGHTS
    with pytest.raises(FormatRefused) as refused:
        recognise(put(tmp_path, f"m{suffix.upper()}", other))
    values = refused.value.values
    assert (values["rule"], values["file"]) == ("name_disagrees", f"m{suffix.upper()}")
    assert values["found"] in ("tflite", "safetensors")
    assert set(values["allowed"]) == formats._BY_NAME[suffix]


def test_the_name_is_given_where_the_path_is_a_hash(tmp_path):
    path = put(tmp_path, "ab12.400", payload(tmp_path / "x"))
    assert recognise(path) == "pickle"
    with pytest.raises(FormatRefused, match=r"model\.onnx refused, name_disagrees: found pickle"):
        recognise(path, "model.onnx")


@pytest.mark.parametrize("cut", [1, 2, 10, -1, -10])
def test_half_an_onnx_file_is_none(cut, tmp_path):
    assert recognise(put(tmp_path, "m", onnx_bytes()[:cut])) == "unknown"


def test_bytes_behind_an_onnx_file_make_it_none(tmp_path):
    assert recognise(put(tmp_path, "m", onnx_bytes() + b"\xff\xff")) == "unknown"


def test_only_a_little_of_a_large_file_is_read(tmp_path, monkeypatch):
    path = put(tmp_path, "m.onnx", onnx_bytes())
    with path.open("ab") as file:  # metadata of a gigabyte, mostly a hole in the file
        file.write(b"\x72\x80\x80\x80\x80\x04")
        file.truncate(file.tell() + 2**30)
    read = []

    class Counting(formats._Head):
        def __init__(self, file):
            class Stream:
                seek = file.seek

                @staticmethod
                def read(count):
                    raw = file.read(count)
                    read.append(len(raw))
                    return raw

            super().__init__(Stream())

    monkeypatch.setattr(formats, "_Head", Counting)
    assert recognise(path) == "onnx"
    assert sum(read) <= RECOGNISE_SIZE_BYTES_MAX


def test_many_small_fields_end_the_reading_and_not_the_program(tmp_path):
    raw = onnx_bytes() + b"\x72\x00" * 200_000
    assert recognise(put(tmp_path, "m.onnx", raw)) == "onnx"


def test_a_stream_that_unpacks_for_ever_is_cut(tmp_path):
    raw = gzip.compress(bytes(50 * 1024**2))
    assert recognise(put(tmp_path, "m.gz", raw)) == "archive"


def test_a_zip_file_behind_other_bytes_is_seen(tmp_path):
    assert recognise(put(tmp_path, "m", b"words" + torch_zip(tmp_path / "x"))) == "archive"


def test_a_zip_file_of_64_bits_is_read(tmp_path):
    path = tmp_path / "m.pt"
    with (
        zipfile.ZipFile(path, "w") as packed,
        packed.open("m/data.pkl", "w", force_zip64=True) as f,
    ):
        f.write(b"\x80\x02N.")
    assert recognise(path) == "pytorch"


def test_what_is_no_file_or_cannot_be_read_is_said(tmp_path, monkeypatch):
    with pytest.raises(FormatRefused, match="no_file"):
        recognise(tmp_path)
    with pytest.raises(FormatRefused, match="no_file"):
        recognise(tmp_path / "gone.onnx")
    with pytest.raises(FormatRefused, match="empty"):
        recognise(put(tmp_path, "m.onnx", b""))
    path = put(tmp_path, "m", b"x")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(FileUnreadable, match="Permission denied"):
        recognise(path)


def test_a_folder_has_variants_arrays_and_the_rest(tmp_path):
    raws = {
        "model-00001-of-00002.safetensors": WEIGHTS,
        "model-00002-of-00002.safetensors": WEIGHTS,
        "onnx/model.onnx": onnx_bytes(),
        "onnx/model.onnx_data": bytes(99),
        "samples.npz": zipped({"x.npy": b"\x93NUMPY\x01\x00"}),
        "sources.zip": zipped({"a.txt": b""}),
        "config.json": b"{}",
        "README.md": b"# words\n",
        "empty.txt": b"",
    }
    files = {name: put(tmp_path, name, raw) for name, raw in raws.items()}
    layout = recognise_artifact(files)
    assert [(one.file, one.format, one.variant) for one in layout.models] == [
        ("model-00001-of-00002.safetensors", "safetensors", "model.safetensors"),
        ("model-00002-of-00002.safetensors", "safetensors", "model.safetensors"),
        ("onnx/model.onnx", "onnx", "onnx/model.onnx"),
    ]
    assert layout.arrays == ("samples.npz",)
    assert set(layout.others) == {
        *("README.md", "config.json", "empty.txt", "onnx/model.onnx_data", "sources.zip")
    }


def test_an_archive_is_the_model_where_there_is_no_other(tmp_path):
    files = {
        "m.zip": put(tmp_path, "m.zip", zipped({"a": b""})),
        "README.md": put(tmp_path, "README.md", b"# words\n"),
    }
    layout = recognise_artifact(files)
    assert [(one.file, one.format) for one in layout.models] == [("m.zip", "archive")]


@pytest.mark.parametrize(
    ("name", "raw", "found"),
    [("m.bin", bytes(9), "unknown"), ("m.npy", b"\x93NUMPY\x01\x00", "npy")],
)
def test_a_lone_file_is_the_model_whatever_it_is(name, raw, found, tmp_path):
    layout = recognise_artifact({name: put(tmp_path, name, raw)})
    assert [(one.file, one.format) for one in layout.models] == [(name, found)]
    assert (layout.arrays, layout.others) == ((), ())


def test_a_folder_of_tensorflow_is_one_model(tmp_path):
    raws = {
        "saved_model.pb": b"\x08\x01\x12\x02\x0a\x00",
        "variables/variables.index": bytes(9),
        "variables/variables.data-00000-of-00001": bytes(99),
    }
    layout = recognise_artifact({name: put(tmp_path, name, raw) for name, raw in raws.items()})
    assert [(one.file, one.format) for one in layout.models] == [("saved_model.pb", "savedmodel")]


def test_a_pickle_among_the_texts_is_refused(tmp_path):
    files = {
        "m.onnx": put(tmp_path, "m.onnx", onnx_bytes()),
        "notes.txt": put(tmp_path, "notes.txt", payload(tmp_path / "x")),
    }
    with pytest.raises(FormatRefused, match=r"notes\.txt refused, name_disagrees"):
        recognise_artifact(files)
