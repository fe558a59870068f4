"""Folders of pictures: decoded by a Worker, named by their sub-folder."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image

from hanse.core.certify.data import list_images, read_dataset
from hanse.core.certify.data.faults import DatasetRefused, MappingNeeded, UnknownLabel, WrongShape
from hanse.core.model.control import Control
from tests.fakes.data_sets import port, step, wanted

TASK = "image-classification"


def picture(folder, name, shade, size=(4, 4)):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, 0, 0)).save(path)


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "pets"
    picture(place, "dog/b.png", 20)
    picture(place, "cat/a.jpg", 10)
    picture(place, "cat/c.PNG", 30)
    return place


def decoder(folder, seen=None):
    """Decode here what a Worker would decode there."""

    def read(files, size, channels, _):
        if seen is not None:
            seen.append((tuple(files), size, channels))
        found = []
        for one in files:
            image = Image.open(folder / one).convert("RGB" if channels == 3 else "L")
            if size is not None:
                image = image.resize(size[::-1])
            found.append(np.asarray(image).reshape(*image.size[::-1], channels))
        return np.stack(found)

    return read


def read(folder, model, seen=None):
    return read_dataset(folder, model, None, decoder(folder, seen), Control())


def test_pictures_become_rows_and_their_folders_labels(folder):
    seen = []
    model = wanted(
        port("x", "n", 3, 8, 6), pre=(step("scale", 0.5, 0),), labels=("cat", "dog"), task=TASK
    )
    found = read(folder, model, seen)
    assert seen == [(("cat/a.jpg", "cat/c.PNG", "dog/b.png"), (8, 6), 3)]
    assert found.inputs["x"].shape == (3, 3, 8, 6)
    assert found.inputs["x"][2, 0].max() == 10
    assert found.truth.tolist() == ["cat", "cat", "dog"]
    assert found.targets == ()


def test_the_digest_is_that_of_the_sorted_lines(folder):
    lines = sorted(
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()} {name} {name[:3]}\n"
        for name in ("cat/a.jpg", "cat/c.PNG", "dog/b.png")
    )
    want = hashlib.sha256("".join(lines).encode()).digest()
    assert read(folder, wanted(port("x", 1, 4, 4, 3), task=TASK)).sha256 == want


def test_the_recipe_says_size_and_layout_where_the_input_does_not(folder):
    seen = []
    model = wanted(
        port("x", None, None, None, 1),
        pre=(step("resize", 5, 7),),
        task=TASK,
    )
    assert read(folder, model, seen).inputs["x"].shape == (3, 5, 7, 1)
    assert seen[0][1:] == ((5, 7), 1)


def test_hidden_files_are_passed_over(folder):
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "cat" / ".hidden.png").write_bytes(b"x")
    assert len(list_images(folder, Control())) == 3


def test_what_is_no_picture_is_refused_by_name(folder):
    (folder / "cat" / "notes.txt").write_text("hello")
    with pytest.raises(DatasetRefused) as fault:
        list_images(folder, Control())
    assert fault.value.rule == "not_an_image"
    assert fault.value.values["found"] == "cat/notes.txt"


def test_a_file_beside_the_classes_a_folder_in_one_and_a_link_are_refused(folder):
    (folder / "readme.png").write_bytes(b"x")
    with pytest.raises(DatasetRefused) as fault:
        list_images(folder, Control())
    assert fault.value.rule == "not_a_class"
    (folder / "readme.png").unlink()
    (folder / "cat" / "more.png").mkdir()
    with pytest.raises(DatasetRefused) as fault:
        list_images(folder, Control())
    assert fault.value.rule == "not_a_file"
    (folder / "cat" / "more.png").rmdir()
    (folder / "cat" / "link.png").symlink_to(folder / "dog" / "b.png")
    with pytest.raises(DatasetRefused) as fault:
        list_images(folder, Control())
    assert fault.value.rule == "not_a_file"


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DatasetRefused) as fault:
        list_images(tmp_path, Control())
    assert fault.value.rule == "no_images"


def test_a_folder_of_a_label_the_model_does_not_know_is_refused_before_decoding(folder):
    seen = []
    with pytest.raises(UnknownLabel) as fault:
        read(folder, wanted(port("x", 1, 4, 4, 3), labels=("cat", "cow"), task=TASK), seen)
    assert fault.value.values == {"found": ("dog",), "known": ("cat", "cow")}
    assert seen == []


@pytest.mark.parametrize("shape", [(None, 10), (None, "c", None, None)])
def test_an_input_that_takes_no_pictures_is_asked_about(folder, shape):
    with pytest.raises(MappingNeeded):
        read(folder, wanted(port("x", *shape), task=TASK))


@pytest.mark.parametrize(
    "answer",
    [
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros((3, 4, 4, 3), np.float32),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((3, 4, 4, 1), np.uint8),
    ],
)
def test_what_a_worker_decodes_is_checked(folder, answer):
    model = wanted(port("x", 1, 4, 4, 3), task=TASK)
    with pytest.raises(WrongShape):
        read_dataset(folder, model, None, lambda *_: answer, Control())
