"""A network that reaches nobody: it starts and stops as the real one, and notes what was asked."""

from __future__ import annotations

from concurrent.futures import Future

from hanse.core.engine.ports import NoPeer
from hanse.core.model.network import NetworkEvent


class FakeNetwork:
    """A ``Network`` of the runtime; ``fault`` is what keeps it from starting."""

    def __init__(self, engine, executor, settings, on_event, fault=None):
        self.engine = engine
        self.executor = executor
        self.settings = settings
        self.on_event = on_event
        self.fault = fault
        self.is_online = False
        self.asked = []
        self.connected = []
        self.moving = []
        self.synced = {}

    def start(self):
        begun = Future()
        if self.fault is not None:
            begun.set_exception(self.fault)
            return begun
        assert self.engine.context.keys is not None
        self.is_online = True
        begun.set_result(self.addresses)
        return begun

    @property
    def addresses(self):
        return ("/ip4/127.0.0.1/tcp/4801",)

    def stop(self, timeout_seconds):
        self.is_online = False
        return timeout_seconds > 0

    def health(self):
        return {"is_alive": self.is_online, "addresses": self.addresses}

    def connections(self):
        return self.connected

    def add(self, text, *, is_kept=True):
        self.asked.append(("add", text, is_kept))
        found = Future()
        found.set_exception(NoPeer(whom="", tried=1))
        return found

    def sync(self, device=None):
        self.asked.append(("sync", device))
        found = Future()
        found.set_result(self.synced)
        return found

    def fetch(self, release):
        self.asked.append(("fetch", release))

    def transfers(self):
        return self.moving

    def post(self, entry_id=None):
        self.asked.append(("post", entry_id))

    def announce(self):
        self.asked.append(("announce",))

    def happen(self, word, **values):
        self.on_event(NetworkEvent(word, values))
