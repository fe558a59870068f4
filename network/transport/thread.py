"""The network's thread: one ``trio.run``, entered and left in one order.

    start    listen; enter ``beside``, in order; open the nursery; ``begin``; ``ready`` is set
    stop     refuse new work; cancel the nursery (calls, services); leave ``beside``, in reverse;
             leave every Peer; end

The order is not free: gossip that is left under traffic loses its tasks' nursery, and a host that
is left without closing its connections is not spoken to again by who remembers them.

What is built here, the thread does not know; it owns the order and the errors: one that ends it
comes out of ``ready`` or, later, of ``on_stopped``.
"""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

from hanse.core.engine.ports import NetworkOffline

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from hanse.network.transport.host import LibP2PHost

T = TypeVar("T")

_BESIDE_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Built:
    """What a network thread runs.

    ``host`` has its handlers registered.  ``beside`` are contexts that need a host that listens
    and must be left while its connections are still there: Pubsub and its router.  ``begin``
    starts the services: it is awaited once with the nursery, which is cancelled to stop.
    """

    host: LibP2PHost
    listen: Sequence[str]
    beside: Sequence[Callable[[], AbstractAsyncContextManager[Any]]] = ()
    begin: Callable[[trio.Nursery], Awaitable[None]] | None = None


class NetworkThread:
    """One life of the network; a stopped one is not started again, another is made."""

    def __init__(
        self,
        build: Callable[[], Built],
        on_stopped: Callable[[BaseException | None], None] = lambda _: None,
    ) -> None:
        """Take what builds everything, called on the thread itself before anything is opened.

        ``on_stopped`` is called last, on the thread: with the error that ended it, or with None.
        """
        self._build = build
        self._on_stopped = on_stopped
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._scope = trio.CancelScope()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="hanse-network")
        #: The addresses we listen at, or the error that prevented it.
        self.ready: Future[tuple[str, ...]] = Future()

    def start(self) -> None:
        """Begin; how it went, ``ready`` says."""
        self._thread.start()

    def submit(self, call: Callable[..., Awaitable[T]], *args: object) -> Future[T]:
        """Run ``call(*args)`` on the thread; never blocks, from any thread.

        The Future ends with ``NetworkOffline`` when the network is not there or is stopping, and
        is cancelled with the thread.
        """
        future: Future[T] = Future()

        def refuse() -> None:
            if future.set_running_or_notify_cancel():
                future.set_exception(NetworkOffline(reason="stopped"))

        async def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(await call(*args))
            except Exception as error:  # noqa: BLE001  it belongs to who asked
                future.set_exception(_sole(error))
            except BaseExceptionGroup as errors:
                future.set_exception(CancelledError())
                # What else was raised while it was cancelled is nobody's any more.
                raise _without_exceptions(errors) from None
            except BaseException:
                future.set_exception(CancelledError())
                raise

        def begin() -> None:
            if self._is_closing or self._nursery is None:
                refuse()
            else:
                self._nursery.start_soon(work)

        token = self._token
        if token is None or self._is_closing:
            refuse()
            return future
        try:
            token.run_sync_soon(begin)
        except trio.RunFinishedError:
            refuse()
        return future

    def stop(self, timeout_seconds: float = 10.0) -> bool:
        """End it in order and wait; say whether the thread is gone.  May be called again."""
        assert threading.current_thread() is not self._thread
        self._is_closing = True
        if (token := self._token) is not None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(self._scope.cancel)
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            trio.run(self._main)
        except BaseException as caught:  # noqa: BLE001  the thread's end is where it is told
            error = _sole(caught)
        self._token = None
        if not self.ready.done():
            self.ready.set_exception(error or NetworkOffline(reason="stopped"))
        self._on_stopped(error)

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        if self._is_closing:  # stopped before there was anything to wake
            return
        built = self._build()
        async with built.host.running(built.listen):
            # Scopes nest: ``beside`` is entered outside of what is cancelled to stop, and has so
            # much time to be left from then on.
            with trio.CancelScope() as leaving:
                async with AsyncExitStack() as stack:
                    for enter in built.beside:
                        await stack.enter_async_context(enter())
                    try:
                        await self._serve(built)
                    finally:
                        leaving.deadline = trio.current_time() + _BESIDE_SECONDS

    async def _serve(self, built: Built) -> None:
        """Run the services until stopped."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    if built.begin is not None:
                        await built.begin(nursery)
                    self._nursery = nursery
                    if not self.ready.done():
                        self.ready.set_result(tuple(built.host.addresses()))
                    await trio.sleep_forever()
        finally:
            self._nursery = None


def _sole(error: BaseException) -> BaseException:
    """Return the one error inside groups of one, which trio makes of each."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _without_exceptions(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the part of a group that must go on: cancellation, and what ends programs."""
    must_go, _ = errors.split(lambda each: not isinstance(each, Exception | BaseExceptionGroup))
    return must_go if must_go is not None else errors
