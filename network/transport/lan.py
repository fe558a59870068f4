"""Finding Devices on the same LAN: multicast DNS as libp2p's specification writes it.

* The service is ``_p2p._udp.local.``, its TXT records ``dnsaddr=<multiaddr>/p2p/<peer id>``
  (libp2p specs, discovery/mdns.md): other libp2p programs are heard too, and whether one is a
  Hanse is found out by dialling.
* zeroconf has a thread of its own; what it hears is handed to the network thread and nothing
  waits here.  libp2p's own class blocks the thread it is made on, for seconds at the end.
* The name announced is random and new at each start: it says that a libp2p program runs here.
* What came over multicast is a hint of anybody on the LAN: bounded, and never trusted.

Off by a setting; then nothing is sent and nothing is heard.
"""

from __future__ import annotations

import logging
import secrets
import socket
from typing import TYPE_CHECKING, Final

import trio
from zeroconf import IPVersion, ServiceBrowser, ServiceInfo, ServiceListener, Zeroconf

from hanse.core.limits import LAN_SERVICES_MAX, MULTIADDR_CHARACTERS_MAX, PEER_ADDRESSES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_log: Final = logging.getLogger(__name__)

_SERVICE: Final = "_p2p._udp.local."
_LOOKUP_MS: Final = 3000
_TXT_BYTES: Final = 240  # one string of a TXT record has at most 255, the key among them
_CLOSE_SECONDS: Final = 3.0


class Lan:
    """Announces our addresses on the LAN and hears those of others."""

    def __init__(
        self,
        addresses: Callable[[], Sequence[str]],
        found: Callable[[tuple[str, ...]], None],
        interfaces: Sequence[str] | None = None,
    ) -> None:
        """``found`` gets the multiaddr texts of one Device, on the network thread.

        ``addresses`` are ours, each with ``/p2p/``; ``interfaces`` limits both ways to these local
        addresses, else all that are up are used.
        """
        self._addresses = addresses
        self._found = found
        self._interfaces = interfaces
        self._name = f"{secrets.token_hex(20)}.{_SERVICE}"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Announce and listen until cancelled; without a usable interface only say so and rest."""
        send, receive = trio.open_memory_channel[str](LAN_SERVICES_MAX)
        try:
            zeroconf = await trio.to_thread.run_sync(self._open)
        except OSError as error:
            _log.info("the LAN cannot be listened to: %s", error)
            task_status.started()
            await trio.sleep_forever()
        try:
            ours = _announcement(self._name, self._addresses())
            if ours is not None:
                await trio.to_thread.run_sync(zeroconf.register_service, ours)
            listener = _Listener(send, trio.lowlevel.current_trio_token(), self._name)
            browser = await trio.to_thread.run_sync(ServiceBrowser, zeroconf, _SERVICE, listener)
            task_status.started()
            try:
                async with trio.open_nursery() as nursery:
                    limit = trio.CapacityLimiter(4)
                    async for name in receive:
                        nursery.start_soon(self._look, zeroconf, name, limit)
            finally:
                listener.stop()
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(browser.cancel)
        finally:
            # Saying goodbye takes zeroconf up to a second; it is not waited for longer.
            with trio.move_on_after(_CLOSE_SECONDS, shield=True):
                await trio.to_thread.run_sync(zeroconf.close, abandon_on_cancel=True)

    def _open(self) -> Zeroconf:
        if self._interfaces is None:
            return Zeroconf(ip_version=IPVersion.All)
        for host in self._interfaces:  # where one is not ours, zeroconf fails and leaves a socket
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind((host, 0))
        return Zeroconf(interfaces=list(self._interfaces))

    async def _look(self, zeroconf: Zeroconf, name: str, limit: trio.CapacityLimiter) -> None:
        async with limit:
            info = await trio.to_thread.run_sync(
                zeroconf.get_service_info, _SERVICE, name, _LOOKUP_MS, abandon_on_cancel=True
            )
        if info is not None and (addresses := announced(info)):
            self._found(addresses)


class _Listener(ServiceListener):
    """Called on zeroconf's thread; hands names over and looks at nothing."""

    def __init__(
        self, send: trio.MemorySendChannel[str], token: trio.lowlevel.TrioToken, own: str
    ) -> None:
        self._send = send
        self._token: trio.lowlevel.TrioToken | None = token
        self._own = own

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """Hand a new name over."""
        del zc, type_
        self._hand(name)

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """Hand a name over that has other addresses now."""
        del zc, type_
        self._hand(name)

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """Forget nothing: whoever is gone is found out by dialling."""

    def stop(self) -> None:
        """Hand nothing over any more."""
        self._token = None

    def _hand(self, name: str) -> None:
        token = self._token
        if token is None or name == self._own:
            return

        def hand() -> None:
            try:
                self._send.send_nowait(name)
            except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
                _log.debug("a name on the LAN was passed over")

        try:
            token.run_sync_soon(hand)
        except trio.RunFinishedError:
            self._token = None


def _announcement(name: str, addresses: Sequence[str]) -> ServiceInfo | None:
    addresses = [one for one in addresses if len(one) <= _TXT_BYTES and "/p2p-circuit" not in one]
    if not addresses:
        return None
    keys = ("dnsaddr", *(f"dnsaddr{number}" for number in range(2, PEER_ADDRESSES_MAX + 1)))
    parts = [address.split("/") for address in addresses]
    port = next((int(part[4]) for part in parts if len(part) > 4 and part[4].isdigit()), 0)
    # Nobody reads them (the TXT records count), but without any zeroconf finds no such service.
    hosts = dict.fromkeys(part[2] for part in parts if part[1] in {"ip4", "ip6"})
    return ServiceInfo(
        _SERVICE,
        name,
        port=port,
        properties=dict(zip(keys, addresses, strict=False)),
        server=f"{name.partition('.')[0]}.local.",
        parsed_addresses=list(hosts),
    )


def announced(info: ServiceInfo) -> tuple[str, ...]:
    """Return the multiaddr texts a service announces, at most eight; of any other form none."""
    found = []
    for key, value in info.properties.items():
        if not key.startswith(b"dnsaddr") or not value or len(value) > MULTIADDR_CHARACTERS_MAX:
            continue
        text = value.decode("ascii", "replace")
        if text.isprintable() and "/p2p/" in text and "/p2p-circuit" not in text:
            found.append(text)
    return tuple(dict.fromkeys(found))[:PEER_ADDRESSES_MAX]
