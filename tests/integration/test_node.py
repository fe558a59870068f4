"""``hanse node``: from the passphrase to the signal, in this process and in one of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hanse.app.bootstrap import Bootstrap
from hanse.app.desk import Desk
from hanse.app.node import Events, run_node
from hanse.app.settings import Given
from hanse.core.engine.ports import NetworkMissing, PortTaken
from hanse.core.errors import EXIT_DONE, EXIT_REFUSED, WrongPassphrase
from hanse.core.keystore.guards import FolderLock
from hanse.core.limits import NODE_EVENTS_WAITING_MAX
from hanse.core.model.network import NetworkEvent
from tests.fakes.clock import FakeClock
from tests.fakes.console import FakeConsole
from tests.fakes.networks import FakeNetwork
from tests.fakes.ready import Ready
from tests.fakes.terminal import CHEAP, PASSPHRASE, Terminal

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX here")


@pytest.fixture
def term(tmp_path):
    return Terminal(tmp_path)


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    return Ready.make(tmp_path_factory.mktemp("ready"), "Anna")


@pytest.fixture
def folder(term, ready, home):
    ready.copy(term.base / "anna", home / "config" / "hanse")
    return term.base / "anna"


class Watched(FakeConsole):
    """A terminal on which something is done when a line says so."""

    def __init__(self, acts, **options):
        super().__init__(**options)
        self._acts = acts

    def out(self, text):
        super().out(text)
        for word, act in self._acts.items():
            if word in text:
                act()

    @property
    def events(self):
        return [json.loads(line) for line in self.outs]


def end():
    signal.raise_signal(signal.SIGTERM)


def node(term, folder, console, *, is_events=True, make_network=FakeNetwork, **given):
    outside = Bootstrap(
        console=console,
        environ={},
        clock=term.clock,
        chance=term.chance,
        kdf=CHEAP,
        make_network=make_network,
    )
    desk = Desk(outside.build(Given(data_dir=folder, **given)), console)
    return run_node(desk, is_events=is_events, port=0, listen=())


# --- in this process --------------------------------------------------------------------------


def test_a_node_says_what_it_does_and_ends_at_the_signal(term, folder):
    console = Watched({'"started"': end}, has_person=True, answers=[PASSPHRASE])
    answer = node(term, folder, console)
    assert answer.exit_code == EXIT_DONE
    words = [event["word"] for event in console.events]
    assert words == ["unlocked", "online", "started", "offline", "stopped"]
    started = console.events[2]
    assert started["name"] == "Anna"
    assert started["role"] == "full"
    assert started["addresses"] == ["/ip4/127.0.0.1/tcp/4801"]
    assert started["identity"].startswith("hanse:id:")
    assert all(isinstance(event["time_ms"], int) for event in console.events)
    with FolderLock(folder):
        assert not (folder / "holder.json").exists()


@pytest.mark.parametrize(("lang", "word"), [("en", "Stopped"), ("zh_CN", "已停止")])
def test_a_person_reads_sentences(term, folder, lang, word):
    console = Watched({"4801": end}, has_person=True, answers=[PASSPHRASE])
    node(term, folder, console, is_events=False, lang=lang)
    assert word in console.outs[-1]
    assert str(folder) in console.out_text
    assert "{" not in console.out_text


def test_what_the_network_tells_is_shown_with_words_and_values(term, folder):
    made = []

    def make(*arguments):
        made.append(FakeNetwork(*arguments))
        return made[-1]

    def happen():
        made[0].happen("peer_odd", device="ab", identity=b"\1" * 32)

    acts = {'"started"': happen, "peer_odd": end}
    console = Watched(acts, has_person=True, answers=[PASSPHRASE])
    node(term, folder, console, make_network=make)
    [event] = [one for one in console.events if one["word"] == "peer_odd"]
    assert event["device"] == "ab"
    assert event["identity"].startswith("hanse:id:")
    assert made[0].settings.is_node
    assert made[0].settings.port == 0

    def happen_again():
        made[1].happen("peer_odd")
        made[1].happen("connected", device="ab" * 32, path="lan")

    acts = {"Anna": happen_again, "abab": end}
    console = Watched(acts, has_person=True, answers=[PASSPHRASE])
    node(term, folder, console, is_events=False, make_network=make)
    assert [line for line in console.outs if "abab" in line] == ["Connected: abababababab"]
    assert "peer_odd" not in console.out_text


def test_a_wrong_passphrase_starts_nothing(term, folder):
    console = Watched({}, has_person=True, answers=["a wrong passphrase"])
    with pytest.raises(WrongPassphrase):
        node(term, folder, console, make_network=pytest.fail)
    assert console.outs == []
    with FolderLock(folder):
        pass


@pytest.mark.parametrize("fault", [PortTaken(port=4801), NetworkMissing(reason="no libp2p")])
def test_a_network_that_cannot_start_ends_the_node(term, folder, fault):
    console = Watched({}, has_person=True, answers=[PASSPHRASE])
    with pytest.raises(type(fault)):
        node(term, folder, console, make_network=lambda *it: FakeNetwork(*it, fault=fault))
    with FolderLock(folder):
        assert not (folder / "holder.json").exists()


def test_offline_means_it_and_the_node_still_serves(term, folder):
    console = Watched({'"started"': end}, has_person=True, answers=[PASSPHRASE])
    node(term, folder, console, make_network=pytest.fail, is_offline=True)
    assert [event["word"] for event in console.events] == ["unlocked", "started", "stopped"]
    assert console.events[1]["is_offline"] is True


def test_the_switch_in_the_folder_outlives_the_node(term, folder):
    at = ("--data-dir", folder)
    assert term.json("peer", "offline", "on", *at)["is_offline"]
    console = Watched({'"started"': end}, has_person=True, answers=[PASSPHRASE])
    node(term, folder, console, make_network=pytest.fail)
    assert term.json("peer", "offline", *at)["is_offline"]
    assert not term.json("peer", "offline", "off", *at)["is_offline"]
    error = term.json("peer", "offline", "off", "--offline", *at, status=EXIT_REFUSED)
    assert error["code"] == "peer.still_offline"


def test_a_signal_while_the_passphrase_is_asked_leaves_nothing(term, folder):
    console = Watched({}, has_person=True, answers=[lambda *_: end()])
    with pytest.raises(KeyboardInterrupt):
        node(term, folder, console, make_network=pytest.fail)
    with FolderLock(folder):
        pass


def test_the_handlers_of_before_come_back(term, folder):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    console = Watched({'"started"': end}, has_person=True, answers=[PASSPHRASE])
    node(term, folder, console)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_who_reads_too_slowly_loses_the_oldest():
    events = Events(FakeClock())
    for number in range(NODE_EVENTS_WAITING_MAX + 3):
        events.put(NetworkEvent(str(number)))
    assert events.dropped == 3
    assert events.take().event.word == "3"
    assert len(list(events.rest())) == NODE_EVENTS_WAITING_MAX - 1


# --- in a process of its own -------------------------------------------------------------------


class Node:
    """A real node, whose lines are read as they come."""

    def __init__(self, term, folder, *options):
        self.child = subprocess.Popen(
            [
                *(sys.executable, "-m", "hanse.app.cli", "node", "--events"),
                *("--listen", "/ip4/127.0.0.1/tcp/0", "--data-dir", str(folder)),
                *(str(one) for one in (*term.secret, *options)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "HANSE_NETWORK_LAN": "0", "HANSE_NETWORK_DHT": "0"},
        )

    def until(self, word):
        """Read lines up to one with this word."""
        for line in self.child.stdout:
            event = json.loads(line)
            if event["word"] == word:
                return event
        raise AssertionError(self.child.stderr.read().decode())

    def end(self, number=signal.SIGTERM):
        self.child.send_signal(number)
        out, err = self.child.communicate(timeout=20)
        return [json.loads(line) for line in out.splitlines()], err.decode()


def test_a_real_node_serves_a_real_client_and_ends_clean(term, folder, home):
    running = Node(term, folder, "--offline")
    first = running.until("started")
    at = ("--data-dir", folder)
    assert term.json("account", "devices", *at)[0]["is_this"]
    health = term.json("doctor", *at)["networks"][str(folder)]
    assert health["process"] == running.child.pid
    assert health["is_offline"]
    assert health["counters"]["peers"]["known"] == 0
    key = json.loads((folder / "holder.json").read_text())["key"]
    arguments = Path(f"/proc/{running.child.pid}/cmdline").read_text()
    events, err = running.end()
    assert [event["word"] for event in events] == ["stopped"]
    assert err == ""
    assert running.child.returncode == EXIT_DONE
    assert not (folder / "holder.json").exists()
    for text in (arguments, json.dumps(first), *(log.read_text() for log in home.rglob("*.log"))):
        assert PASSPHRASE not in text
        assert key not in text


def test_a_killed_node_is_no_obstacle(term, folder):
    running = Node(term, folder, "--offline")
    running.until("started")
    running.end(signal.SIGKILL)
    assert (folder / "holder.json").exists()
    at = ("--data-dir", folder)
    assert term.ok("account", "profile", "--about", "x", "--yes", *at, *term.secret)
    console = Watched({'"started"': end}, has_person=True, answers=[PASSPHRASE])
    assert node(term, folder, console).exit_code == EXIT_DONE


def test_the_unit_and_the_page_name_what_exists():
    docs = Path(__file__).parents[2] / "docs"
    unit = (docs / "hanse-node.service").read_text("utf-8")
    page = (docs / "how-to" / "node.md").read_text("utf-8")
    assert "LoadCredential=passphrase:" in unit
    assert "hanse-node.service" in page
    assert "ExecStart=" in unit
    assert "--passphrase-file %d/passphrase" in unit
