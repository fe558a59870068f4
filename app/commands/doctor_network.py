"""What ``hanse doctor`` says of the network: who runs, how it is reached, what is not promised.

* Where a Hanse holds the folder it is asked; one that does not answer is a finding that is wrong.
* Without one the counters of the folder are shown, and that nothing runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hanse.app.commands.findings import Finding, State
from hanse.app.health import counters
from hanse.app.instance import HOLDER_FILE, HolderClient
from hanse.app.runtime import is_switched_off
from hanse.core.engine.engine import Engine
from hanse.core.engine.home import Home
from hanse.core.errors import EnvironmentFault, HanseError
from hanse.core.model.addresses import Reach, read_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from hanse.app.desk import Desk


def look(desk: Desk, folder: Path) -> tuple[list[Finding], Mapping[str, object]]:
    """Look at the network of one folder; the second value goes to programs."""
    findings: list[Finding] = []
    health: Mapping[str, object] | None = None
    try:
        health = _asked(folder)
    except EnvironmentFault as error:
        findings.append(Finding(State.WRONG, error.code, error.values))
    if health is None:
        found = {"is_running": False, "counters": _counters_of(desk, folder)}
        findings += _not_running(desk, folder)
    else:
        found = {"is_running": True, **health}
        findings += _running(folder, health)
    findings += _kept(_part(found, "counters"))
    return findings, found


def promises() -> Iterator[Finding]:
    """Say what is not promised, whatever was found."""
    yield Finding(State.NOTE, "doctor.nat", {})


def _asked(folder: Path) -> Mapping[str, object] | None:
    if not (folder / HOLDER_FILE).exists():
        return None
    client = HolderClient.reach(folder)
    if client is None:
        return None
    try:
        return client.health()
    finally:
        client.close()


def _counters_of(desk: Desk, folder: Path) -> Mapping[str, object]:
    """Count in the folder as a reader; what is wrong with it, its own findings say."""
    hanse = desk.hanse
    try:
        home = Home(folder, hanse.settings.config)
        with Engine.open(home, clock=hanse.clock, chance=hanse.chance, read_only=True) as engine:
            return counters(engine)
    except HanseError:
        return {}


def _not_running(desk: Desk, folder: Path) -> Iterator[Finding]:
    if desk.hanse.settings.is_offline or is_switched_off(folder):
        yield Finding(State.NOTE, "doctor.offline", {"path": folder})
    else:
        yield Finding(State.NOTE, "doctor.not_running", {"path": folder})


def _running(folder: Path, health: Mapping[str, object]) -> Iterator[Finding]:
    """Say who runs, and how its network is."""
    yield Finding(
        State.FINE,
        "doctor.running",
        {
            "path": folder,
            "program": health.get("program"),
            "process": str(health.get("process")),
            "since_ms": health.get("since_ms"),
            "memory_bytes": health.get("memory_bytes"),
            "threads": health.get("threads"),
        },
    )
    network, fault = _part(health, "network"), _part(health, "fault")
    if fault:
        values = _part(fault, "values")
        yield Finding(State.WRONG, str(fault.get("code")), values)
    elif health.get("is_offline") is True:
        yield Finding(State.NOTE, "doctor.offline", {"path": folder})
    elif health.get("is_unlocked") is not True:
        yield Finding(State.NOTE, "doctor.locked", {"path": folder})
    elif not network or network.get("is_alive") is not True:
        yield Finding(State.WRONG, "doctor.network_dead", {"path": folder})
    else:
        addresses = _list(network, "addresses")
        yield Finding(State.FINE, "doctor.listening", {"addresses": tuple(addresses)})


def _kept(found: Mapping[str, object]) -> Iterator[Finding]:
    """Say how this Device is reached, what waits and what moves."""
    peers, sync = _part(found, "peers"), _part(found, "sync")
    if not found:
        return
    yield Finding(
        State.FINE,
        "doctor.peers",
        {name: peers.get(name) for name in ("known", "kept", "connected")},
    )
    yield from _reach(_list(found, "reached_at"))
    if sync.get("own_is_stale") is True:
        yield Finding(State.WRONG, "doctor.own_stale", {})
    elif sync.get("own_may_leave") is False:
        yield Finding(State.NOTE, "doctor.own_stays", {})
    last_ms = sync.get("last_ms")
    if last_ms is not None:
        yield Finding(State.FINE, "doctor.synced", {"last_ms": last_ms})
    outbox, moving = _part(found, "outbox"), _part(found, "transfers")
    waiting = sum(_number(outbox, one) for one in ("queued", "sent", "offering", "held"))
    failed = _number(outbox, "failed")
    if waiting or failed:
        values = {"waiting": waiting, "failed": failed}
        yield Finding(State.NOTE if failed else State.FINE, "doctor.outbox", values)
    if moving:
        under_way = sum(_number(moving, one) for one in ("queued", "searching", "running"))
        values = {"under_way": under_way, "failed": _number(moving, "failed")}
        yield Finding(State.NOTE if values["failed"] else State.FINE, "doctor.transfers", values)


def _reach(places: Sequence[object]) -> Iterator[Finding]:
    """Say where others answered us: the place the most tell of."""
    told = [one for one in places if isinstance(one, dict) and _number(one, "told")]
    if not told:
        yield Finding(State.NOTE, "doctor.not_reached", {})
        return
    best = max(told, key=lambda one: _number(one, "told"))
    address = str(best.get("address"))
    place = read_address(address)
    is_public = place is not None and place.reach in {None, Reach.PUBLIC}
    said = "doctor.reached" if is_public else "doctor.reached_near"
    yield Finding(State.FINE, said, {"address": address, "told": _number(best, "told")})


def _part(values: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def _list(values: Mapping[str, object], name: str) -> Sequence[object]:
    found = values.get(name)
    return found if isinstance(found, list | tuple) else ()


def _number(values: Mapping[str, object], name: str) -> int:
    found = values.get(name)
    return found if isinstance(found, int) else 0
