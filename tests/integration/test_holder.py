"""One process holds a folder, and commands of others on it are done by that one."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager
from multiprocessing.connection import Client, answer_challenge, deliver_challenge
from pathlib import Path

import pytest

from hanse.app import holder, instance
from hanse.app.bootstrap import Bootstrap
from hanse.app.holder import RelayedConsole
from hanse.app.holder_wire import Reply
from hanse.app.instance import HOLDER_FILE, HolderClient, read_holder_file
from hanse.app.progress import long_work
from hanse.app.runtime import Runtime
from hanse.app.settings import Given
from hanse.core.engine.ports import PortTaken
from hanse.core.errors import (
    EXIT_DONE,
    EXIT_ENVIRONMENT,
    EXIT_NO,
    EXIT_REFUSED,
    EXIT_WRONG_USE,
)
from hanse.core.limits import HOLDER_CLIENTS_MAX, HOLDER_MESSAGE_BYTES_MAX
from hanse.core.model.control import Cancelled
from tests.fakes.networks import FakeNetwork
from tests.fakes.ready import Ready
from tests.fakes.terminal import CHEAP, PASSPHRASE, Terminal

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the socket is POSIX here")


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


def hanse_on(term, folder, make_network, **given):
    outside = Bootstrap(
        console=term.console,
        environ={},
        clock=term.clock,
        chance=term.chance,
        kdf=CHEAP,
        make_network=make_network,
    )
    return outside.build(Given(data_dir=folder, **given))


@contextmanager
def held(term, folder, *, is_unlocked=True, make_network=FakeNetwork, **given):
    """Hold the folder in this process, as a node would."""
    runtime = Runtime(hanse_on(term, folder, make_network, **given))
    try:
        runtime.hold()
        if is_unlocked:
            runtime.unlock(PASSPHRASE)
        yield runtime
    finally:
        assert runtime.stop()


@pytest.fixture
def running(term, folder):
    with held(term, folder) as runtime:
        yield runtime


# --- commands are relayed ---------------------------------------------------------------------


@pytest.mark.usefixtures("running")
def test_a_command_is_done_by_the_holder_without_the_passphrase(term, folder):
    at = ("--data-dir", folder)
    assert term.ok("account", "profile", "--about", "new", "--yes", *at)
    assert term.json("account", "profile", *at)["about"] == "new"
    assert term.json("account", "devices", *at)[0]["is_this"]


def test_the_answer_is_the_same_with_and_without_a_holder(term, folder):
    commands = (
        ("ledger", "show"),
        ("account", "profile"),
        ("store", "quota", "--json"),
        ("listing", "search"),
        ("listing", "show", "0" * 64),
        ("ledger", "show", "--kind", "odd"),
    )

    def answers():
        found = []
        for command in commands:
            for lang in ("en", "zh_CN"):
                status = term.run(*command, "--data-dir", folder, "--lang", lang)
                found.append((status, term.console.outs, term.console.errs))
        return found

    alone = answers()
    with held(term, folder):
        assert answers() == alone
    assert {status for status, *_ in alone} >= {EXIT_DONE, EXIT_WRONG_USE}


@pytest.mark.usefixtures("running")
def test_the_question_is_asked_at_the_clients_terminal(term, folder):
    arguments = ("account", "profile", "--about", "other words", "--data-dir", folder)
    assert term.run(*arguments, answers=["n"]) == EXIT_NO
    assert "other words" in term.console.err_text
    assert len(term.console.questions) == 1
    term.ok(*arguments, "--lang", "zh", answers=["是"])
    error = term.json(*arguments, status=EXIT_WRONG_USE)
    assert error == {"code": "confirm.no_way_to_ask", "values": {"option": "--yes"}}


@pytest.mark.usefixtures("running")
def test_the_pipe_of_the_client_is_read(term, folder):
    error = term.json("account", "confirm", "--data-dir", folder, piped="odd words", status=2)
    assert error["code"] == "phrase.length"


@pytest.mark.usefixtures("running")
def test_a_person_who_is_gone_ends_the_command_only(term, folder):
    arguments = ("account", "profile", "--about", "x", "--data-dir", folder)
    assert term.run(*arguments, answers=[]) == 130
    assert "nterrupted" in term.console.err_text
    assert term.ok("account", "devices", "--data-dir", folder)


@pytest.mark.usefixtures("running")
def test_a_file_is_named_from_where_the_person_is(term, folder, monkeypatch):
    monkeypatch.chdir(term.base)
    term.ok("ledger", "export", "mine.hanse-feed", "--data-dir", folder)
    assert (term.base / "mine.hanse-feed").exists()
    (term.base / "no-model.txt").write_text("nothing")
    arguments = ("certify", "no-model.txt", "--background", "--data-dir", folder)
    assert term.json(*arguments)["state"] == "QUEUED"


@pytest.mark.usefixtures("running")
def test_long_answers_arrive_whole(term, folder, monkeypatch):
    whole = term.ok("ledger", "show", "--full", "--data-dir", folder)
    monkeypatch.setattr(holder, "TEXT_CHARACTERS", 7)
    assert term.ok("ledger", "show", "--full", "--data-dir", folder) == whole


@pytest.mark.usefixtures("running")
def test_what_needs_no_open_account_stays_in_the_client(term, folder, monkeypatch):
    monkeypatch.setattr(HolderClient, "run", lambda *_: pytest.fail("was relayed"))
    assert term.json("account", "list", "--data-dir", folder)[0]["name"] == "Anna"
    assert term.ok("account", "devices", "--help", "--data-dir", folder)


@pytest.mark.usefixtures("running")
def test_a_second_holder_is_refused_and_told_who_holds(term, folder):
    error = term.json("node", "--data-dir", folder, *term.secret, status=EXIT_ENVIRONMENT)
    assert error["code"] == "store.locked"
    assert str(os.getpid()) in error["values"]["holder"]
    assert read_holder_file(folder) is not None


# --- Ctrl-C -----------------------------------------------------------------------------------


class Line:
    """A wire that keeps what is sent."""

    def __init__(self):
        self.sent = []

    def send(self, message):
        self.sent.append(message)


def test_ctrl_c_goes_to_the_work_that_takes_it_even_when_it_came_before():
    console = RelayedConsole(Line(), has_person=True)
    taken = []
    console.interrupt()
    with console.interrupts(lambda: taken.append("early")):
        assert taken == ["early"]
        console.interrupt()
    assert taken == ["early", "early"]


def test_ctrl_c_during_a_question_ends_it():
    console = RelayedConsole(Line(), has_person=True)
    caught = threading.Event()

    def ask():
        with pytest.raises(KeyboardInterrupt):
            console.ask("sure?")
        caught.set()

    thread = threading.Thread(target=ask)
    thread.start()
    console.interrupt()
    thread.join(5)
    assert caught.is_set()


def test_a_reply_answers_and_its_end_is_an_end():
    console = RelayedConsole(Line(), has_person=True)
    console.give(Reply(text="yes"))
    assert console.ask("sure?") == "yes"
    console.give(Reply(text=None, why="end"))
    with pytest.raises(EOFError):
        console.ask_hidden("sure?")


def test_ctrl_c_at_the_client_ends_long_work_and_leaves_the_holder(
    term, folder, running, monkeypatch
):
    desks, ended = [], []
    begun, pause = threading.Event(), threading.Event()

    def view():
        with long_work(desks[-1]) as progress:
            begun.set()
            try:
                while True:
                    progress.control.checkpoint("import", 0, 1)
                    pause.wait(0.005)
            except Cancelled as error:
                ended.append(error)
                raise

    class KeptDesk(holder.Desk):
        def __init__(self, *args, **values):
            super().__init__(*args, **values)
            desks.append(self)

    def press():
        begun.wait(10)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(holder, "Desk", KeptDesk)
    monkeypatch.setattr(running.engine.storing, "view", view)
    finger = threading.Thread(target=press)
    finger.start()
    status = term.run("store", "show", "--data-dir", folder)
    finger.join()
    assert status == EXIT_NO
    assert len(ended) == 1
    assert term.ok("account", "devices", "--data-dir", folder)


# --- lock and unlock --------------------------------------------------------------------------


def test_lock_drops_the_keys_and_stops_the_network_and_unlock_starts_it_again(
    term, folder, running
):
    at = ("--data-dir", folder)
    assert running.is_online
    assert term.json("account", "lock", *at) == {"was_remembered": False, "was_unlocked": True}
    assert running.engine.context.keys is None
    assert not running.is_online
    assert term.run("account", "profile", "--about", "x", "--yes", *at) == EXIT_WRONG_USE
    assert term.json("account", "lock", *at)["was_unlocked"] is False

    assert term.run("account", "unlock", *at, answers=["a wrong one"]) == EXIT_REFUSED
    assert not running.is_unlocked
    assert term.json("account", "unlock", *at, answers=[PASSPHRASE])["is_online"]
    assert running.is_online
    assert term.ok("account", "profile", "--about", "x", "--yes", *at)


def test_a_passphrase_for_one_command_does_not_unlock_the_holder(term, folder):
    with held(term, folder, is_unlocked=False) as runtime:
        at = ("--data-dir", folder)
        term.ok("account", "profile", "--about", "x", "--yes", *at, *term.secret)
        assert runtime.engine.context.keys is None
        assert not runtime.is_unlocked
        new = term.file("new", "quite another one\n")
        term.ok("account", "passphrase", *at, *term.secret, "--new-passphrase-file", new)
        assert runtime.engine.context.keys is None


def test_a_network_that_cannot_start_leaves_the_rest_at_work(term, folder):
    def taken(*arguments):
        return FakeNetwork(*arguments, fault=PortTaken(port=4801))

    with held(term, folder, make_network=taken) as runtime:
        assert runtime.fault.code == "network.port_taken"
        assert runtime.health()["fault"]["values"] == {"port": 4801}
        assert term.ok("account", "profile", "--about", "x", "--yes", "--data-dir", folder)
        text = term.ok("account", "unlock", "--data-dir", folder, *term.secret)
        assert "4801" in text


def test_offline_by_setting_never_makes_a_network(term, folder):
    made = []
    with held(term, folder, make_network=lambda *it: made.append(it), is_offline=True) as runtime:
        assert runtime.is_unlocked
        assert not runtime.is_online
    assert made == []


# --- several clients, and such as mean no good -------------------------------------------------


@pytest.mark.usefixtures("running")
def test_several_clients_at_once_are_served(term, folder):
    statuses = []

    def ask(number):
        mine = Terminal(term.base, term.clock, term.chance)
        arguments = ("account", "profile", "--about", f"words {number}", "--yes")
        statuses.append(mine.run(*arguments, "--data-dir", folder))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [EXIT_DONE] * 8
    assert len(term.json("ledger", "show", "--data-dir", folder)) == 10
    assert term.ok("ledger", "verify", "--data-dir", folder)


def connected(folder):
    return Client(read_holder_file(folder).address, "AF_UNIX")


def proven(folder):
    connection = connected(folder)
    key = read_holder_file(folder).secret
    answer_challenge(connection, key)
    deliver_challenge(connection, key)
    return connection


def is_ended(connection):
    """Say whether the holder hung up."""
    try:
        while connection.poll(5):
            connection.recv_bytes(HOLDER_MESSAGE_BYTES_MAX)
    except (EOFError, OSError):
        return True
    return False


JUNK = [
    b"",
    b"\x80\x04N.",
    b"not json",
    b"[" * 100_000,
    b'{"do": "run"}',
    b'{"do": "done", "exit": 0}',
    b'{"do": "cancel"}',
    b'{"do": "health", "v": 1, "more": 1}',
    b'{"do": "reply", "text": 5}',
]


def test_junk_ends_its_own_connection_only(term, folder, running):
    for junk in JUNK:
        with proven(folder) as connection:
            connection.send_bytes(junk)
            assert is_ended(connection)
    assert term.ok("account", "devices", "--data-dir", folder)
    assert running.is_online


@pytest.mark.usefixtures("running")
def test_a_message_that_is_too_long_is_never_held(term, folder):
    with proven(folder) as connection:
        try:
            connection.send_bytes(b" " * (HOLDER_MESSAGE_BYTES_MAX + 1))
        except OSError:
            return  # it has hung up while we were still sending
        assert is_ended(connection)
    assert term.ok("account", "devices", "--data-dir", folder)


@pytest.mark.usefixtures("running")
def test_a_wrong_key_gets_nothing(term, folder):
    with connected(folder) as connection, pytest.raises(Exception):  # noqa: B017, PT011
        answer_challenge(connection, b"x" * 32)
    assert term.ok("account", "devices", "--data-dir", folder)


def test_who_says_nothing_is_hung_up_on(term, folder, monkeypatch):
    monkeypatch.setattr(holder, "ANSWER_SECONDS", 0.1)
    with held(term, folder), connected(folder) as connection:
        assert is_ended(connection)
        assert term.ok("account", "devices", "--data-dir", folder)


def test_too_many_clients_are_turned_away_and_the_next_is_served(term, folder, running):
    waiting = [connected(folder) for _ in range(HOLDER_CLIENTS_MAX)]
    for connection in waiting:
        assert connection.poll(5)  # it is being asked for the key
    error = term.json("account", "devices", "--data-dir", folder, status=EXIT_ENVIRONMENT)
    assert error["code"] == "holder.busy"
    for connection in waiting:
        connection.close()
    while running.health()["clients"]:
        threading.Event().wait(0.01)
    assert term.ok("account", "devices", "--data-dir", folder)


REQUEST = {
    "do": "run",
    "v": 1,
    "program": "1",
    "words": ["account", "devices"],
    "values": {"full": True},
    "lang": "en",
    "folder": "/",
    "passphrase_file": None,
    "is_json": True,
    "is_yes": False,
    "is_verbose": False,
    "is_offline": False,
    "has_person": False,
}


def test_a_command_that_does_not_fit_is_refused(folder, running):
    for spoil in (
        {"words": ["account", "nothing"]},
        {"words": ["account", "list"]},
        {"values": {"full": "yes"}},
        {"values": {"full": True, "more": 1}},
        {"lang": "xx"},
        {"v": 99},
    ):
        with proven(folder) as connection:
            connection.send_bytes(json.dumps({**REQUEST, **spoil}).encode())
            assert json.loads(connection.recv_bytes(10_000))["do"] == "refused"
            assert is_ended(connection)
    with proven(folder) as connection:
        connection.send_bytes(json.dumps(REQUEST).encode())
        assert json.loads(connection.recv_bytes(10_000))["do"] == "begun"
    assert running.is_online


# --- what is left behind ----------------------------------------------------------------------


def test_only_this_user_reaches_the_socket_and_nothing_stays_behind(term, folder, running):
    found = read_holder_file(folder)
    place = Path(found.address)
    assert stat.S_IMODE((folder / HOLDER_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    assert running.stop()
    assert not (folder / HOLDER_FILE).exists()
    assert not place.parent.exists()
    assert term.ok(
        "account", "profile", "--about", "x", "--yes", *term.secret, "--data-dir", folder
    )


def test_what_a_dead_holder_left_is_harmless(term, folder):
    with held(term, folder):
        left = (folder / HOLDER_FILE).read_bytes()
    (folder / HOLDER_FILE).write_bytes(left)
    at = ("--data-dir", folder)
    assert term.ok("account", "profile", "--about", "x", "--yes", *term.secret, *at)
    (folder / HOLDER_FILE).write_bytes(b"\xff junk")
    assert term.ok("account", "devices", *at)
    with held(term, folder):
        assert term.ok("account", "devices", *at)


def test_a_folder_with_a_long_path_has_its_socket_elsewhere(term):
    deep = term.base.joinpath(*["folder-with-a-long-name"] * 6)
    term.ok("account", "create", "--name", "Deep", "--data-dir", deep, *term.secret)
    with held(term, deep):
        place = Path(read_holder_file(deep).address)
        assert len(os.fsencode(place)) <= 100
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
        assert term.ok("account", "devices", "--data-dir", deep)
    assert not place.parent.exists()


def test_a_holder_that_does_not_answer_is_named(term, folder, running, monkeypatch):
    monkeypatch.setattr(instance, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(holder._Session, "_serve", lambda _: threading.Event().wait(0.6))
    error = term.json("account", "devices", "--data-dir", folder, status=EXIT_ENVIRONMENT)
    assert error["code"] == "holder.silent"
    assert error["values"]["path"] == str(folder)
    with running._holder._lock:
        running._holder._sessions.clear()


def test_no_secret_reaches_the_log(term, folder, home):
    with held(term, folder, is_unlocked=False) as runtime:
        key = read_holder_file(folder).key
        at = ("--data-dir", folder)
        term.ok("account", "unlock", *at, answers=[PASSPHRASE])
        term.ok("account", "profile", "--about", "x", "--yes", *at)
        assert runtime.is_unlocked
        with proven(folder) as connection:
            connection.send_bytes(b"junk")
            assert is_ended(connection)
    texts = [path.read_text("utf-8") for path in home.rglob("*.log")]
    assert texts
    for text in texts:
        assert PASSPHRASE not in text
        assert key not in text


def test_a_command_of_another_process_is_done_here(folder, running):
    done = subprocess.run(
        [sys.executable, "-m", "hanse.app.cli", "account", "devices", "--json"],
        env={**os.environ, "HANSE_DATA_DIR": str(folder)},
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == EXIT_DONE
    assert json.loads(done.stdout)["result"][0]["is_this"]
    assert running.is_online
