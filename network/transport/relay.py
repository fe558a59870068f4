"""Circuit relay v2: a Peer that both sides reach carries what two behind NAT say to each other.

* Any reachable Peer may offer it; it sees who talks to whom, when and how much, never what: Noise
  runs end to end through the circuit.
* ``reserve`` asks a relay to let others reach us; it is renewed at half its time, by hand:
  libp2p's own ``auto_reserve`` made none (network.md 7).
* ``dial`` goes through libp2p's circuit transport, because its swarm passes such addresses over.
* What one relay gives is bounded: circuits, time and bytes; libp2p's own bounds are too small for
  a model's listing, and a Release goes directly or not at all where it can.

Direct connection after a relay (DCUtR) is not promised and not tried.
"""

from __future__ import annotations

import logging
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio
from libp2p.relay.circuit_v2.config import RelayConfig, RelayRole
from libp2p.relay.circuit_v2.protocol import PROTOCOL_ID, CircuitV2Protocol
from libp2p.relay.circuit_v2.resources import RelayLimits
from libp2p.relay.circuit_v2.transport import CircuitV2Transport
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from hanse.core.limits import (
    RELAY_BYTES_MAX,
    RELAY_CIRCUITS_MAX,
    RELAY_RESERVATIONS_MAX,
    RELAY_SECONDS_MAX,
)
from hanse.network.transport.host import peer_id_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from libp2p.abc import IHost

    from hanse.core.model.ids import AuthorKey

_log: Final = logging.getLogger(__name__)

_ASK_SECONDS: Final = 10.0
_DIAL_SECONDS: Final = 15.0
_RENEW_SECONDS_MIN: Final = 30.0


class Relay:
    """Our part of relaying; made right after the host, before its own handlers."""

    def __init__(self, host: IHost, *, is_offered: bool) -> None:
        """With ``is_offered`` others may be carried through this host."""
        self._host = host
        self._limits = RelayLimits(
            duration=RELAY_SECONDS_MAX,
            data=RELAY_BYTES_MAX,
            max_circuit_conns=RELAY_CIRCUITS_MAX,
            max_reservations=RELAY_RESERVATIONS_MAX,
        )
        self._protocol = CircuitV2Protocol(host, self._limits, allow_hop=is_offered)
        roles = RelayRole.STOP | (RelayRole.HOP if is_offered else RelayRole.STOP)
        # Without the client role: else each dial would ask for a reservation first.
        self._transport = CircuitV2Transport(
            host, self._protocol, RelayConfig(roles=roles, limits=self._limits)
        )
        self._until: dict[AuthorKey, float] = {}

    @asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        """Serve circuits; for ``thread.Built.beside``."""
        async with background_trio_service(self._protocol):
            with trio.fail_after(_ASK_SECONDS):
                await self._protocol.event_started.wait()
            yield

    def relays(self) -> tuple[AuthorKey, ...]:
        """Return the relays that let others reach us now."""
        now = time.time()
        return tuple(relay for relay, until in self._until.items() if until > now)

    async def reserve(self, device: AuthorKey) -> float | None:
        """Ask a connected relay to let others reach us.

        Returns in how many seconds to ask again, or None when it refused; never raises.
        """
        relay = peer_id_of(device)
        stream = None
        try:
            with trio.move_on_after(_ASK_SECONDS):
                stream = await self._host.new_stream(relay, [PROTOCOL_ID])
                # The public way starts a worker that swallows cancellation.
                if await self._transport._make_reservation(stream, relay):
                    until = float(self._transport._reservations[relay])
                    self._until[device] = until
                    return max(_RENEW_SECONDS_MIN, (until - time.time()) / 2)
        except Exception as error:  # noqa: BLE001 - the same as a refusal
            _log.debug("%s gave no reservation: %r", relay, error)
        finally:
            if stream is not None:
                with trio.move_on_after(1, shield=True):
                    try:
                        await stream.close()
                    except Exception as error:  # noqa: BLE001 - it is over either way
                        _log.debug("a stream to %s did not close: %r", relay, error)
        self._until.pop(device, None)
        return None

    async def dial(self, address: str) -> None:
        """Connect through a circuit address ``<relay>/p2p-circuit/p2p/<peer id>``.

        Raises what libp2p raises, or ``trio.TooSlowError``; the swarm holds the connection then.
        """
        with trio.fail_after(_DIAL_SECONDS):
            await self._transport.dial(Multiaddr(address))
