"""What runs on one data folder, started and stopped in one order.

* Start: lock and engine, executor, the local socket, jobs; the network when there are keys.
  Stop: commands of other processes, jobs, network, executor, engine with readers and database,
  lock at last; each has its own time.  Only this file knows the order.
* The network needs the Device key: it runs while the Account is unlocked and nobody switched it
  off.  What cannot run (a library is missing, a port is taken) leaves the rest at work.
* ``offline`` in the data folder is the person's switch: while it is there nothing listens, dials
  or looks around, also after the next start.
* Several commands may work at once; those that measure a model take turns, and the queue of jobs
  stands meanwhile.

Who looks on is told of what happens by ``NetworkEvent``; who he is, is not known here.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TYPE_CHECKING, Final, Protocol

import psutil

from hanse.app.health import counters
from hanse.app.holder import Holder
from hanse.app.version import program_version
from hanse.app.workers import JobRunner
from hanse.core.durable import write_durably
from hanse.core.engine.executor import Executor
from hanse.core.engine.ports import NetworkMissing, NetworkOffline, Peers
from hanse.core.errors import FolderNotWritable, HanseError
from hanse.core.model.network import NetworkEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Future
    from pathlib import Path

    from hanse.app.bootstrap import Hanse
    from hanse.core.engine.certifying import JobView
    from hanse.core.engine.engine import Engine
    from hanse.core.model.network import NetworkSettings

OFFLINE_FILE: Final = "offline"
START_SECONDS: Final = 30.0  # for the network to listen
COMMANDS_SECONDS: Final = 2.0
NETWORK_SECONDS: Final = 5.0
WORK_SECONDS: Final = 5.0

_log: Final = logging.getLogger(__name__)
_LOOK_SECONDS: Final = 0.2


class Network(Peers, Protocol):
    """A network that can be started and stopped, once."""

    def start(self) -> Future[object]:
        """Begin; the Future ends when it listens, or with ``PortTaken`` or ``NetworkMissing``."""
        ...

    def stop(self, timeout_seconds: float) -> bool:
        """Close every connection and end the thread; say whether it did in time."""
        ...

    def health(self) -> Mapping[str, object]:
        """Say how it is, in plain values: whether its thread lives, addresses, counts."""
        ...


class MakeNetwork(Protocol):
    """How a network is made."""

    def __call__(
        self,
        engine: Engine,
        executor: Executor,
        settings: NetworkSettings,
        on_event: Callable[[NetworkEvent], None],
    ) -> Network:
        """Make one that is not started yet; raises ``NetworkMissing``."""
        ...


def make_service(
    engine: Engine,
    executor: Executor,
    settings: NetworkSettings,
    on_event: Callable[[NetworkEvent], None],
) -> Network:
    """Make the network over libp2p, which is loaded only now; raises ``NetworkMissing``."""
    try:
        from hanse.network.service import NetworkService  # noqa: PLC0415 - brings libp2p along
    except ImportError as error:
        raise NetworkMissing(reason=str(error)) from error
    program = f"hanse {program_version()}"
    return NetworkService(engine, executor, settings, on_event, program)


def _nobody(_: NetworkEvent) -> None:
    """Tell nobody."""


class Runtime:
    """All that runs on one data folder."""

    def __init__(
        self,
        hanse: Hanse,
        *,
        settings: NetworkSettings | None = None,
        on_event: Callable[[NetworkEvent], None] = _nobody,
    ) -> None:
        """Take the lock of the folder and open it; nothing else runs yet.

        ``on_event`` is called on any thread and must not wait.  Raises what ``Engine.open`` does.
        """
        self.hanse = hanse
        self.engine = hanse.open()
        self.executor = Executor(max(1, (os.cpu_count() or 2) - 1))
        self._settings = settings or hanse.settings.network
        self._on_event = on_event
        self._make_network = hanse.make_network or make_service
        self._since_ms = hanse.clock.now_ms()
        # Guards what follows.  The network is started and stopped under its own lock, since that
        # takes seconds in which its state is asked for.
        self._lock = threading.RLock()
        self._switching = threading.Lock()
        self._measuring = threading.Lock()
        self._holder: Holder | None = None
        self._jobs: JobRunner | None = None
        self._network: Network | None = None
        self._fault: HanseError | None = None
        self._is_unlocked = False
        self._guests = 0  # commands that work with a passphrase of their own
        self._is_closing = False

    # --- starting and stopping ------------------------------------------------------------------

    def hold(self) -> None:
        """Take commands of other processes on this folder, and work off the queue of jobs."""
        self._holder = Holder(self)
        self._holder.start()
        self._start_jobs()

    def unlock(self, passphrase: str) -> None:
        """Open the Keystore for good, and start the network; raises ``WrongPassphrase``."""
        with self._lock:
            self.engine.accounts.unlock(passphrase)
            is_new, self._is_unlocked = not self._is_unlocked, True
        if is_new:
            self.tell("unlocked")
        self._follow()

    def lock(self) -> bool:
        """Stop the network and drop the keys, whoever works with them; say whether they were there.

        The keys go last: what is under way may still be written down.
        """
        with self._lock:
            was_unlocked, self._is_unlocked = self._is_unlocked, False
        self._follow()
        with self._lock:
            if not self._is_unlocked:
                self.engine.accounts.lock()
        if was_unlocked:
            self.tell("locked")
        return was_unlocked

    def stop(self) -> bool:
        """End everything in order; say whether all of it ended in time.

        What does not end keeps the database open: the end of the process closes it then, and
        nothing is lost.  Harmless when repeated.
        """
        with self._lock:
            if self._is_closing:
                return True
            self._is_closing = True
        is_ended = self._holder is None or self._holder.stop(COMMANDS_SECONDS)
        jobs, self._jobs = self._jobs, None
        if jobs is not None:
            is_ended &= jobs.close()
        is_ended &= self._follow()
        is_ended &= _within(WORK_SECONDS, self.executor.close)
        if is_ended:
            self.engine.close()
        else:
            _log.warning("something did not end in time; the end of the process ends it")
        return is_ended

    # --- the Account ----------------------------------------------------------------------------

    @property
    def is_unlocked(self) -> bool:
        """Say whether the keys stay until ``lock``."""
        return self._is_unlocked

    @contextlib.contextmanager
    def unlocked(self, ask: Callable[[], str]) -> Iterator[Engine]:
        """Give the engine with keys: those that are there, or by a passphrase for this block."""
        passphrase = None if self._is_unlocked else ask()
        with self._lock:
            if passphrase is not None and not self._is_unlocked:
                self.engine.accounts.unlock(passphrase)
            self._guests += 1
        try:
            yield self.engine
        finally:
            with self._lock:
                self._guests -= 1
                if not self._is_unlocked and self._guests == 0:
                    self.engine.accounts.lock()

    @contextlib.contextmanager
    def measuring(self, checkpoint: Callable[[], object]) -> Iterator[None]:
        """Let one command measure or work off jobs; the queue stands until it is done.

        ``checkpoint`` is called while another one measures, and may raise.
        """
        while not self._measuring.acquire(timeout=_LOOK_SECONDS):
            checkpoint()
        try:
            jobs, self._jobs = self._jobs, None
            if jobs is not None:
                jobs.close()
            yield
        finally:
            if self._holder is not None and not self._is_closing:
                self._start_jobs()
            self._measuring.release()

    @property
    def jobs(self) -> JobRunner | None:
        """Return what works off the queue at this moment."""
        return self._jobs

    def _start_jobs(self) -> None:
        jobs = JobRunner(self.engine, on_done=self._job_done, cores=self.hanse.settings.cores)
        jobs.start()
        self._jobs = jobs

    def _job_done(self, view: JobView) -> None:
        self.tell("job", job=view.row.job, state=view.row.state.value, suite=view.request.suite)

    # --- the network ----------------------------------------------------------------------------

    @property
    def is_offline(self) -> bool:
        """Say whether the network is switched off, by a setting or in this folder."""
        return self.is_offline_by_setting or self._offline_file.exists()

    @property
    def is_offline_by_setting(self) -> bool:
        """Say whether it was switched off where no command reaches."""
        return self.hanse.settings.is_offline

    @property
    def peers(self) -> Peers | None:
        """Return the network, where it runs."""
        return self._network

    @property
    def is_online(self) -> bool:
        """Say whether the network runs."""
        network = self._network
        return network is not None and network.is_online

    def online(self) -> Peers:
        """Return the network that runs, or raise why there is none."""
        network = self._network
        if network is not None and network.is_online:
            return network
        if self._fault is not None:
            raise self._fault
        raise NetworkOffline(reason=self._why_off())

    def set_offline(self, *, is_offline: bool) -> bool:
        """Switch the network off or on, also for the next start; say whether it is off now.

        Raises what kept it from starting.
        """
        set_offline(self.engine.context.home.folder, is_offline=is_offline)
        self._follow()
        if not is_offline and self._fault is not None:
            raise self._fault
        return self.is_offline

    @property
    def _offline_file(self) -> Path:
        return self.engine.context.home.folder / OFFLINE_FILE

    def _why_off(self) -> str:
        if self._is_closing:
            return "closing"
        if self.is_offline:
            return "switched_off"
        return "not_running" if self._is_unlocked else "locked"

    def _follow(self) -> bool:
        """Start or stop the network as it should be; say whether it stopped in time."""
        with self._switching:
            is_wanted = self._is_unlocked and not self.is_offline and not self._is_closing
            if is_wanted and self._network is not None and not self._network.is_online:
                self._network.stop(NETWORK_SECONDS)  # it broke: what is left of it goes first
                self._network = None
            if is_wanted and self._network is None:
                self._go_online()
            elif not is_wanted:
                network, self._network, self._fault = self._network, None, None
                if network is None:
                    return True
                is_ended = network.stop(NETWORK_SECONDS)
                self.tell("offline", reason=self._why_off())
                return is_ended
        return True

    def _go_online(self) -> None:
        network: Network | None = None
        if self._settings.seeds_followed:
            self.engine.seeding.set_seeding_followed(on=True)
        try:
            network = self._make_network(self.engine, self.executor, self._settings, self._on_event)
            network.start().result(START_SECONDS)
        except (HanseError, FutureTimeout) as error:
            if network is not None:
                network.stop(NETWORK_SECONDS)
            fault = error if isinstance(error, HanseError) else NetworkMissing(reason="time out")
            self._fault = fault
            _log.info("the network did not start: %s", fault)
            self.tell("network_failed", code=fault.code, values=fault.values)
            return
        self._network, self._fault = network, None
        self.tell("online", addresses=network.health().get("addresses"))

    # --- looking on -----------------------------------------------------------------------------

    def tell(self, word: str, **values: object) -> None:
        """Say that something happened to whoever looks on."""
        self._on_event(NetworkEvent(word, values))

    @property
    def fault(self) -> HanseError | None:
        """Return what kept the network from starting the last time."""
        return self._fault

    def health(self) -> Mapping[str, object]:
        """Say how all of it is, in plain values with stable names."""
        network, jobs = self._network, self._jobs
        process = psutil.Process()
        return {
            "program": program_version(),
            "process": os.getpid(),
            "since_ms": self._since_ms,
            "name": self.engine.context.public.name,
            "device": self.engine.context.device.hex(),
            "is_unlocked": self._is_unlocked,
            "is_offline": self.is_offline,
            "reason": None if network is not None else self._why_off(),
            "fault": None
            if self._fault is None
            else {"code": self._fault.code, "values": self._fault.values},
            "network": None if network is None else network.health(),
            "counters": counters(self.engine, () if network is None else network.connections()),
            "has_jobs": jobs is not None,
            "clients": 0 if self._holder is None else self._holder.clients,
            "memory_bytes": process.memory_info().rss,
            "threads": threading.active_count(),
        }


def is_switched_off(folder: Path) -> bool:
    """Say whether the person switched the network of this folder off."""
    return (folder / OFFLINE_FILE).exists()


def set_offline(folder: Path, *, is_offline: bool) -> None:
    """Keep in the folder whether its network is off; raises ``FolderNotWritable``."""
    path = folder / OFFLINE_FILE
    if is_offline:
        write_durably(path, b"")
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise FolderNotWritable(path=path, detail=error.strerror or str(error)) from error


def _within(seconds: float, work: Callable[[], object]) -> bool:
    """Do ``work`` on a thread of its own; say whether it was done in time."""
    thread = threading.Thread(target=work, name="closing", daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()
