"""Sellers, model files and what a journey does with them: import, describe, confirm, sign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import onnx
from onnx import TensorProto, helper

from hanse.core.artifacts.manifest import read_sealed_manifest
from hanse.core.artifacts.opening import open_artifact
from hanse.core.artifacts.tree import piece_count
from hanse.core.engine.preparing import Preparation
from hanse.core.ledger.kinds import Release1, parse_body
from hanse.core.model.control import Control
from hanse.core.model.listing import TierDraft
from hanse.core.sentences import LANGUAGES, say
from hanse.core.trade.terms import template
from tests.fakes.content import some_bytes, write_files
from tests.fakes.people import Person

if TYPE_CHECKING:
    from collections.abc import Callable

    from hanse.core.artifacts.manifest import Manifest, SealedManifest
    from hanse.core.engine.engine import Engine
    from hanse.core.engine.publishing import PublishedView
    from hanse.core.errors import HanseError
    from hanse.core.model.listing import Draft

EXAMPLES = Path(__file__).parents[2] / "examples"
ARTICLES_MODEL = EXAMPLES / "image_recognition_model.h5"
# Inspected, and neither normalised nor converted: one Worker instead of two.
AS_IS = Preparation(as_is=True)


def seller(base: Path, name: str = "anna") -> Person:
    """Make a Person who may sell: the Recovery phrase is confirmed."""
    person = Person.make(base, name)
    with person.open() as engine:
        engine.accounts.confirm_phrase(person.phrase)
    return person


def tiny_onnx(path: Path, width: int = 4, *, weights: int = 0) -> Path:
    """Write a sound ONNX model that has nothing to normalise; ``weights`` are bytes beside."""
    shape = ["n", width]
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    initialisers = []
    if weights:
        raw = some_bytes(weights, "weights")
        initialisers = [
            TensorProto(name="w", data_type=TensorProto.UINT8, dims=[len(raw)], raw_data=raw)
        ]
        nodes.append(helper.make_node("Shape", ["w"], ["size"]))
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)]
    if weights:
        outputs.append(helper.make_tensor_value_info("size", TensorProto.INT64, [1]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        outputs,
        initialisers,
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])
    onnx.save(model, path)
    return path


def plain_weights(folder: Path, size: int = 3000, seed: str = "") -> Path:
    """Make a folder of two files of no known format: it is listed without asking a Worker."""
    files = {"weights.bin": some_bytes(size, seed or folder.name), "notes.txt": b"some notes\n"}
    return write_files(folder, files)


def free_tiers() -> tuple[TierDraft, ...]:
    """Return one licence that lets anybody pass the model on."""
    return (TierDraft(name="Open", terms=template("open-mit").terms),)


def described(**values: object) -> Callable[[Draft], Draft]:
    """Return the edit that fills a Draft; title, text and price have a value anyway.

    Models are listed untested unless ``untested=False``: running them takes seconds.
    """
    known = {
        "title": "A model",
        "text": "What it does.",
        "price": "100",
        "untested": True,
        **values,
    }

    def change(draft: Draft) -> Draft:
        return msgspec.structs.replace(draft, **known)

    return change


def publish(
    engine: Engine,
    file: Path,
    *,
    listing: bytes | None = None,
    preparation: Preparation | None = None,
    **values: object,
) -> PublishedView:
    """Go all the way with one file."""
    publishing, control = engine.publishing, Control()
    draft = publishing.begin(file, control, listing=listing, preparation=preparation).draft_id
    if listing is None:
        publishing.edit(draft, described(**values))
    else:
        changed = {"untested": True, **values}
        publishing.edit(draft, lambda known: msgspec.structs.replace(known, **changed))
    return publishing.publish(draft, publishing.preview(draft, control))


def next_seq(engine: Engine) -> int:
    """Return the place in the Feed that the next own Entry takes."""
    return engine.ledger.show()[-1].seq + 1


def check_whole(engine: Engine) -> None:
    """Check that the Ledger verifies and every table is what the Entries give."""
    assert engine.ledger.verify().holds
    with engine.context.store.reads() as reads:
        assert reads.projections.difference() is None


def codes(problems: object) -> list[str]:
    """Return the codes of Problems, and check that each has a sentence in both languages."""
    for problem in problems:
        said(problem)
    return [problem.code for problem in problems]


def said(error: HanseError) -> tuple[str, ...]:
    """Say an error or a Problem in both languages."""
    found = tuple(say(error.code, error.values, language) for language in LANGUAGES)
    assert all(found)
    return found


def body_of(engine: Engine, entry_id: bytes) -> object:
    """Read the Body of an Entry that is held."""
    with engine.context.store.reads() as reads:
        stored = reads.feeds.find(entry_id)
    assert stored is not None
    return parse_body(stored.entry.kind, stored.entry.body)


def carry_sealed(giver: Engine, taker: Engine, release: bytes) -> Release1:
    """Copy what anybody may seed of a Release: both Manifests, ciphertext, leaf layers."""
    body = body_of(giver, release)
    assert isinstance(body, Release1)
    for digest in (body.card, *body.seal.manifests):
        taker.content.small.put(giver.content.object(digest))
    plain, sealed = manifests(taker, body)
    held = giver.content.pieces
    for file, root in zip(plain.files, sealed.roots, strict=True):
        with held.open(root, file.size) as stream:
            taker.content.pieces.add(root, file.size, stream)
        chunks = (
            held.layers.piece_leaves(file.root, file.size, piece)
            for piece in range(piece_count(file.size))
        )
        taker.content.pieces.layers.keep(file.root, file.size, chunks)
    return body


def manifests(engine: Engine, body: Release1) -> tuple[Manifest, SealedManifest]:
    """Read the plain and the sealed Manifest of a Release."""
    artifact, sealed = body.seal.manifests
    plain = engine.content.manifest(artifact)
    return plain, read_sealed_manifest(engine.content.object(sealed), plain)


def open_by_salt(engine: Engine, body: Release1, folder: Path) -> Path:
    """Open a Release below ``folder`` with the key this Account derives from the seal's salt."""
    with engine.context.store.reads() as reads:
        seeds = engine.context.all_seeds(reads)[body.seal.epoch]
    plain, sealed = manifests(engine, body)
    key = seeds.content_key(body.seal.salt)
    open_artifact(plain, sealed, key, engine.content.pieces, folder, Control())
    return folder
