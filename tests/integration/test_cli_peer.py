"""Peers, transfers and post at the terminal: without a network, and with one that is made up."""

from __future__ import annotations

import json
import os
import threading

import pytest

from hanse.app.bootstrap import Bootstrap
from hanse.app.commands import peer
from hanse.app.runtime import Runtime
from hanse.app.settings import Given
from hanse.core.crypto.signing import Signer
from hanse.core.engine.engine import Engine
from hanse.core.engine.home import Home
from hanse.core.errors import EXIT_ENVIRONMENT, EXIT_NO, EXIT_REFUSED, EXIT_WRONG_USE
from hanse.core.model.addresses import peer_id_text
from hanse.core.model.network import Cursor, Met, Path, PeerView, TransferState
from hanse.core.model.transfer import Reason
from hanse.core.store.transfers import NewTransfer
from tests.fakes.networks import FakeNetwork
from tests.fakes.people import PASSPHRASE
from tests.fakes.ready import Ready
from tests.fakes.shop import AS_IS, plain_weights, publish, seller
from tests.fakes.terminal import Terminal

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the socket is POSIX here")

DEVICE = Signer.from_seed(b"\7" * 32).public_key
ADDRESS = f"/ip4/192.168.1.7/tcp/4801/p2p/{peer_id_text(DEVICE)}"


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A buyer who knows of a Release of somebody else, and that Release."""
    base = tmp_path_factory.mktemp("shop")
    with seller(base).open() as engine:
        release = publish(engine, plain_weights(base / "files"), preparation=AS_IS).release
        engine.ledger.export(base / "anna.hanse-feed")

    def take(engine):
        assert not engine.ledger.import_file(base / "anna.hanse-feed").rejected

    return Ready.make(base, "berta", take), release


@pytest.fixture
def berta(tmp_path, shop, home):
    """The buyer at a terminal, whose only Account it is."""
    ready, release = shop
    place = home / "data" / "hanse" / "berta"
    place.parent.mkdir(parents=True)
    ready.copy(place, home / "config" / "hanse")
    term = Terminal(tmp_path, ready.person.clock, ready.person.chance)
    term.folder, term.release = place, release
    term.passphrase = ("--passphrase-file", term.file("pass", PASSPHRASE))
    return term


@pytest.fixture
def network(berta):
    """The same folder, held with a network."""
    made = []

    def make(*arguments):
        made.append(FakeNetwork(*arguments))
        return made[-1]

    outside = Bootstrap(clock=berta.clock, chance=berta.chance, make_network=make)
    runtime = Runtime(outside.build(Given()))
    try:
        runtime.hold()
        runtime.unlock(PASSPHRASE)
        made[0].runtime = runtime
        yield made[0]
    finally:
        assert runtime.stop()


def peer_view(**values):
    usual = {"device": DEVICE, "identity": None, "name": "Carl", "addresses": (ADDRESS,),
             "met": Met.KEPT, "is_kept": True}  # fmt: skip
    return PeerView(**{**usual, **values})


# --- peers without a network ------------------------------------------------------------------


def test_a_peer_is_added_listed_shown_and_removed(berta):
    at = ("--lang", "zh")
    assert "hanse peer add" in berta.ok("peer", "list")
    assert "hanse node" in berta.ok("peer", "add", ADDRESS, *at)
    assert DEVICE.hex()[:12] in berta.ok("peer", "list", *at)
    assert ADDRESS in berta.ok("peer", "show", DEVICE.hex()[:8], *at)
    [row] = berta.json("peer", "list")
    assert row["device"] == DEVICE.hex()
    assert row["is_kept"] is True
    assert row["is_connected"] is False
    assert berta.json("peer", "list", "--connected") == []
    assert berta.ok("peer", "remove", peer_id_text(DEVICE), *at)
    assert berta.json("peer", "list") == []
    error = berta.json("peer", "show", DEVICE.hex(), status=EXIT_WRONG_USE)
    assert error["code"] == "peer.unknown"


def test_an_invitation_goes_by_link_by_picture_and_by_file(berta, tmp_path):
    error = berta.json("peer", "invite", status=EXIT_REFUSED)
    assert error["code"] == "peer.no_own_address"
    arguments = ("peer", "invite", "--address", "/ip4/10.1.2.3/tcp/4801")
    made = berta.json(*arguments, "--file", tmp_path / "me.hanse-peer")
    assert made["link"].startswith("hanse:peer/")
    assert "█" in berta.ok(*arguments, "--qr")
    berta.ok(*arguments, "--file", tmp_path / "me.png")
    assert (tmp_path / "me.png").read_bytes().startswith(b"\x89PNG")
    berta.ok(*arguments, "--file", tmp_path / "me.svg")
    assert b"<svg" in (tmp_path / "me.svg").read_bytes()
    assert berta.run(*arguments, "--file", tmp_path / "me.svg") == EXIT_REFUSED

    other = Terminal(tmp_path / "other", berta.clock, berta.chance)
    other.base.mkdir()
    secret = ("--passphrase-file", berta.file("pass", PASSPHRASE))
    folder = ("--data-dir", other.base / "carl")
    other.ok("account", "create", "--name", "Carl", *folder, *secret)
    assert other.json("peer", "add", tmp_path / "me.hanse-peer", *folder)["name"] == "berta"
    assert other.json("peer", "add", made["link"], *folder)["device"] == made["device"]
    assert berta.run("peer", "add", made["link"]) == EXIT_WRONG_USE


def test_what_is_no_invitation_is_named(berta):
    for text in ("nonsense", "/ip4/1.2.3.4/tcp/1", "hanse:peer/x?a=" + "y" * 300):
        error = berta.json("peer", "add", text, status=EXIT_WRONG_USE)
        assert error["code"].startswith("peer.bad")


def test_what_needs_others_says_that_the_network_is_off(berta):
    error = berta.json("peer", "sync", "--offline", status=EXIT_REFUSED)
    assert error == {"code": "network.offline", "values": {"reason": "switched_off"}}
    berta.ok("peer", "offline", "on")
    error = berta.json("peer", "sync", *berta.passphrase, status=EXIT_REFUSED)
    assert error["values"] == {"reason": "switched_off"}


def test_a_sync_without_a_node_runs_the_network_as_long_as_it_takes(berta, monkeypatch):
    made = []

    def make(*arguments):
        made.append(FakeNetwork(*arguments))
        made[-1].connected = [peer_view(is_connected=True)]
        made[-1].synced = {DEVICE: 3}
        return made[-1]

    berta.make_network = make
    found = berta.json("peer", "sync", *berta.passphrase)
    assert found == {"peers": [{"device": DEVICE.hex(), "entries": 3}], "entries": 3}
    assert not made[0].is_online
    monkeypatch.setattr(peer, "MEET_SECONDS", 0.0)
    made.clear()
    monkeypatch.setattr(FakeNetwork, "connections", lambda _: [])
    error = berta.json("peer", "sync", *berta.passphrase, status=EXIT_ENVIRONMENT)
    assert error["code"] == "network.no_peer"


# --- peers with a network ---------------------------------------------------------------------


def test_connected_peers_are_shown_as_the_network_sees_them(berta, network):
    network.connected = [
        peer_view(is_connected=True, path=Path.RELAY, relay=DEVICE, in_bytes=5000, program="x 1")
    ]
    [row] = berta.json("peer", "list", "--connected")
    assert (row["path"], row["in_bytes"]) == ("relay", 5000)
    assert "5.0 kB" in berta.ok("peer", "list")
    berta.ok("peer", "add", ADDRESS)
    assert ("add", ADDRESS, True) in network.asked
    assert "x 1" in berta.ok("peer", "show", DEVICE.hex())


def test_a_peer_that_is_off_is_kept_all_the_same(berta, network):
    assert network.is_online
    text = berta.ok("peer", "add", ADDRESS)
    assert "could be reached" in text
    assert berta.json("peer", "list")[0]["is_kept"]


def test_a_sync_counts_what_came_from_whom(berta, network):
    network.connected = [peer_view(is_connected=True)]
    network.synced = {DEVICE: 12}
    found = berta.json("peer", "sync")
    assert found["entries"] == 12
    assert "Carl" in berta.ok("peer", "sync")
    network.connected = []
    error = berta.json("peer", "sync", status=EXIT_ENVIRONMENT)
    assert error["code"] == "network.no_peer"


def test_the_network_is_switched_off_and_on_while_it_runs(berta, network):
    assert berta.json("peer", "offline") == {
        "is_offline": False, "is_by_setting": False, "is_online": True,
    }  # fmt: skip
    assert berta.json("peer", "offline", "on")["is_online"] is False
    assert not network.is_online
    error = berta.json("peer", "sync", status=EXIT_REFUSED)
    assert error["values"] == {"reason": "switched_off"}
    assert berta.json("peer", "offline", "off")["is_online"] is True


# --- transfers --------------------------------------------------------------------------------


def test_a_release_is_asked_for_offline_and_steered(berta):
    release = berta.release.hex()
    asked = berta.json("listing", "fetch", release[:12], "--offline")
    assert asked["state"] == "queued"
    assert asked["release"] == release
    number = str(asked["transfer"])
    assert "hanse node" in berta.ok("listing", "fetch", release, "--offline", "--priority", "0")
    assert berta.json("transfer", "list")[0]["priority"] == 0
    assert berta.json("transfer", "pause", number)["state"] == "paused"
    assert berta.json("transfer", "resume", release[:8])["state"] == "queued"
    assert berta.json("transfer", "priority", number, "5")["priority"] == 5
    assert number in berta.ok("transfer", "list", "--lang", "zh")
    assert berta.json("transfer", "cancel", number)["state"] == "cancelled"
    assert berta.json("transfer", "list") == []
    assert len(berta.json("transfer", "list", "--all")) == 1
    assert "hanse listing fetch" in berta.ok("transfer", "list")


def test_an_unknown_transfer_is_named(berta):
    for name in ("99", "abcdefab", ""):
        error = berta.json("transfer", "pause", name, status=EXIT_WRONG_USE)
        assert error == {"code": "transfer.none_named", "values": {"found": name}}


def test_a_release_nobody_knows_is_refused(berta):
    error = berta.json("listing", "fetch", "0" * 64, "--offline", status=EXIT_WRONG_USE)
    assert "release" in error["values"]


def test_a_running_node_is_told_of_the_wish(berta, network):
    found = berta.json("listing", "fetch", berta.release.hex())
    assert network.asked == [("fetch", berta.release)]
    assert berta.json("transfer", "pause", str(found["transfer"]))["state"] == "paused"
    assert network.asked[-1] == ("fetch", berta.release)


def move(network, state):
    """End the transfer as the network would."""
    engine = network.engine
    with engine.context.store.unit_of_work() as uow:
        row = uow.transfers.get(network.asked[-1][1])
        uow.transfers.put(
            NewTransfer(row.release, row.artifact, Reason.ASKED, state, row.priority,
                        row.total_bytes, row.total_bytes),
            engine.context.clock.now_ms(),
        )  # fmt: skip
        uow.commit()


@pytest.mark.parametrize(
    ("state", "status"), [(TransferState.DONE, 0), (TransferState.CANCELLED, EXIT_NO)]
)
def test_waiting_ends_with_the_transfer(berta, network, state, status):
    fetch = network.fetch

    def fetch_and_end(release):
        fetch(release)
        threading.Timer(0.3, move, (network, state)).start()

    network.fetch = fetch_and_end
    arguments = ("listing", "fetch", berta.release.hex(), "--wait", "--json")
    assert berta.run(*arguments) == status
    found = json.loads(berta.console.out_text)
    assert found["result"]["state"] == state.value
    if status:
        assert found["error"]["code"] == "transfer.not_fetched"


# --- seeding, post, age -----------------------------------------------------------------------


def test_seeding_shows_the_quota_and_follows_on_demand(berta):
    assert berta.json("peer", "seeding")["is_seeding_followed"] is False
    assert berta.json("peer", "seeding", "--followed", "on")["is_seeding_followed"] is True
    assert "hanse store quota" in berta.ok("peer", "seeding")
    assert berta.json("peer", "seeding", "--followed", "off")["is_seeding_followed"] is False


def test_post_is_shown_and_an_unknown_message_is_named(berta):
    assert berta.json("peer", "post") == []
    assert berta.ok("peer", "post")
    error = berta.json("peer", "post", "--resend", "7", status=EXIT_WRONG_USE)
    assert error == {"code": "post.unknown_message", "values": {"message": 7}}


def test_own_entries_may_leave_on_the_persons_word(berta):
    error = berta.json("peer", "confirm", status=EXIT_WRONG_USE)
    assert error["code"] == "confirm.no_way_to_ask"
    found = berta.json("peer", "confirm", "--yes")
    assert found["before"]["may_leave"] is False
    assert found["now"]["may_leave"] is True


def test_search_and_show_say_how_old_they_are(berta):
    assert berta.json("listing", "search")["synced"] is None
    berta.ok("peer", "add", ADDRESS)
    now_ms = berta.clock.now_ms()
    home = Home(berta.folder, berta.base)
    with Engine.open(home, clock=berta.clock, chance=berta.chance) as engine:
        engine.replicating.reconciled(DEVICE, Cursor(b"\1" * 16, 1))
    berta.clock.advance(3 * 60_000)
    assert berta.json("listing", "search")["synced"] == {"last_ms": now_ms, "peers": 1}
    assert "3 min ago" in berta.ok("listing", "search")
    listing = berta.json("listing", "search")["rows"][0]["listing"]
    assert "3 分钟前" in berta.ok("listing", "show", listing, "--lang", "zh")


def test_the_doctor_counts_with_and_without_a_node(berta, network):
    berta.ok("listing", "fetch", berta.release.hex())
    folder = str(berta.folder)

    def asked():
        berta.run("doctor", "--json")  # who finds the clock of a test odd
        return json.loads(berta.console.out_text)["result"]["networks"][folder]

    found = asked()
    assert found["is_running"]
    assert found["network"]["is_alive"]
    assert found["counters"]["transfers"] == {"queued": 1}
    assert found["memory_bytes"] > 0
    assert network.runtime.stop()
    found = asked()
    assert not found["is_running"]
    assert found["counters"]["transfers"] == {"queued": 1}
    berta.run("doctor")
    assert "Not promised" in berta.console.out_text
