"""A peer nobody here wrote: js-libp2p speaks with a running Hanse, both ways.

Its side of the status and piece protocols was written from docs/protocol.md alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from hanse.core.artifacts.manifest import read_manifest, read_sealed_manifest
from hanse.network.addresses import peer_id_text
from tests.fakes.online import LOOPBACK, Online, online
from tests.fakes.shop import AS_IS, plain_weights, publish, seller
from tests.integration.other_peer import OtherPeer, installed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hanse.core.ledger.kinds import Release1

SEED = hashlib.sha256(b"another peer").digest()
FILES_BYTES = 5 * 512 * 1024 + 77  # three Pieces, the last one short


@dataclass
class Pair:
    """A seller who is online, and the other peer."""

    hanse: Online
    other: OtherPeer
    release: bytes

    @property
    def address(self) -> str:
        return self.hanse.addresses[0]

    @property
    def peer(self) -> str:
        return peer_id_text(self.hanse.engine.context.device)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    installed()
    base = tmp_path_factory.mktemp("other-peer")
    person = seller(base)
    with person.open() as engine:
        files = plain_weights(base / "files", FILES_BYTES)
        release = publish(engine, files, preparation=AS_IS).release
    with online(person, LOOPBACK) as hanse:
        other = OtherPeer.start(SEED)
        try:
            yield Pair(hanse, other, release)
        finally:
            other.stop()


@pytest.fixture
def dialled(pair: Pair) -> Pair:
    assert pair.other.ask("dial", address=pair.address) == pair.peer
    return pair


def body(pair: Pair) -> Release1:
    with pair.hanse.engine.context.store.reads() as reads:
        row = reads.listings.release(pair.release)
    assert row is not None
    return row


def test_it_connects_and_learns_our_protocols_by_identify(dialled: Pair) -> None:
    protocols = dialled.other.ask("protocols", peer=dialled.peer)
    assert {"/hanse/status/1", "/hanse/piece/1", "/hanse/sync/1", "/ipfs/ping/1.0.0"} <= set(
        protocols
    )


def test_its_ping_is_answered(dialled: Pair) -> None:
    assert dialled.other.ask("ping", address=dialled.address) >= 0


def test_its_status_is_answered(dialled: Pair) -> None:
    said = dialled.other.ask("status", address=dialled.address)
    assert (said["number"], said["call"], said["v"]) == (1, 7, 1)
    assert said["identity"] == dialled.hanse.engine.context.identity.hex()
    assert "seeder" in said["roles"]
    assert said["program"]


def test_we_dial_it_and_ask_for_its_status(pair: Pair) -> None:
    view = pair.hanse.network.add(pair.other.addresses[0], is_kept=False).result(20)
    assert view.program == "other/1"
    assert pair.other.event("asked")["number"] == 1


def test_it_fetches_a_sealed_artifact_and_folds_it_to_the_signed_root(dialled: Pair) -> None:
    row, other = body(dialled), dialled.other
    small = dialled.hanse.engine.content.small
    assert row.seal is not None
    plain_id, sealed_id = row.seal.manifests
    for digest in (plain_id, sealed_id, row.card):
        assert other.ask("small", peer=dialled.peer, sha256=digest.hex())["isRight"]
    plain = read_manifest(small.get(plain_id))
    sealed = read_sealed_manifest(small.get(sealed_id), plain)
    for root, file in zip(sealed.roots, plain.files, strict=True):
        found = {"peer": dialled.peer, "root": root.hex(), "size": file.size}
        assert other.ask("have", **found)["isAll"]
        fetched = other.ask("fetch", **found)
        assert fetched["isRight"]
        path = dialled.hanse.engine.content.pieces.path(root, file.size)
        assert fetched["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert fetched["sha256"] != file.sha256.hex()  # it is sealed


def test_plain_files_of_a_sealed_release_are_not_given(dialled: Pair) -> None:
    plain = read_manifest(dialled.hanse.engine.content.small.get(body(dialled).artifact))
    for file in plain.files:
        asked = {"peer": dialled.peer, "root": file.root.hex(), "size": file.size}
        assert dialled.other.ask("have", **asked) == {"sorry": "not_held"}
        assert dialled.other.ask("fetch", **asked) == {"sorry": "not_held"}


def test_a_hint_of_ours_reaches_it_by_gossip(dialled: Pair) -> None:
    dialled.other.ask("subscribe", topic="hanse/heads/1")
    gossip = dialled.hanse.network._parts.gossip._pubsub
    other = next(iter(gossip.peers), None)
    dialled.hanse.until(lambda: gossip.peer_topics.get("hanse/heads/1"))
    assert other is not None
    # One peer that holds nothing confirms our copy of the Feed, so that it may be hinted at.
    dialled.hanse.engine.replicating.confirm_by_hand()
    dialled.hanse.engine.accounts.edit_profile(about="News for everybody.")
    hint = dialled.other.event("hint")
    assert hint["topic"] == "hanse/heads/1"
    with dialled.hanse.engine.context.store.reads() as reads:
        head = reads.feeds.get(dialled.hanse.engine.context.device).head
        entry = reads.feeds.entry_at(dialled.hanse.engine.context.device, head.seq)
    assert entry.header_bytes in bytes.fromhex(hint["data"])


def test_junk_of_it_costs_us_nothing_but_its_stream(dialled: Pair) -> None:
    for protocol in ("/hanse/status/1", "/hanse/sync/1", "/hanse/piece/1", "/hanse/post/1"):
        junk = hashlib.sha256(protocol.encode()).digest() * 9
        assert dialled.other.ask(
            "raw", address=dialled.address, protocol=protocol, bytes=junk.hex()
        )
    assert dialled.other.ask("status", address=dialled.address)["v"] == 1


def test_it_hangs_up_and_comes_again(dialled: Pair) -> None:
    device = dialled.hanse.network
    assert dialled.other.ask("hangUp", peer=dialled.peer)
    dialled.hanse.until(lambda: "lost" in dialled.hanse.words())
    assert dialled.other.ask("dial", address=dialled.address) == dialled.peer
    assert dialled.other.ask("status", address=dialled.address)["v"] == 1
    assert device.is_online
