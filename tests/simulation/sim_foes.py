"""Those who do not keep to the rules: a forker, a withholder, a flooder.

They speak the protocol through the same exchange, over a ledger that is kept in memory and judges
nothing (``tests.fakes.sync_pair``), and each breaks one thing.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from hanse.core.engine.replication.values import EntriesPage, HeadsRow, Taken, Wanted
from hanse.core.engine.syncing import Outcome
from hanse.core.limits import FRAME_SIZE_BYTES_MAX, SYNC_HEADS_MAX
from hanse.core.model.ids import AuthorKey
from hanse.core.model.network import SentEntry
from hanse.network.wire.sync import SyncExchange
from hanse.network.wire.sync_actions import (
    Look,
    Looked,
    ReadEntries,
    ReadHeads,
    Take,
    TakeFork,
)
from hanse.network.wire.sync_messages import (
    FINGERPRINT,
    FINGERPRINT_SIZE_BYTES,
    NONCE_SIZE_BYTES,
    Bodies,
    Entries,
    ForkShown,
    Got,
    Heads,
    Item,
    Recon,
    ReconRange,
    Row,
    Seen,
    Want,
    WantRange,
    write,
)
from tests.fakes.author import Author
from tests.fakes.sync_pair import _NOTHING, MemoryLedger, entry, key
from tests.simulation.sim_shell import UNANSWERED, Party, Session, Stream

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from hanse.core.ledger.entry import CheckedEntry
    from hanse.network.wire.sync_actions import Action

_BURST: Final = 6


class Foe(Party):
    """A Peer with a ledger in memory; the base of all of them, and itself harmless."""

    is_to_be_cut = False

    def __init__(self, seed: str, chance: random.Random) -> None:
        self.author = Author(seed)
        self.writer = self.author.device()
        self.device = AuthorKey(bytes(self.writer.key))
        self.identity = self.author.identity
        self.chance = chance
        self.sessions: dict[AuthorKey, Session] = {}
        self.ended: list[tuple[AuthorKey, Session]] = []

    def __repr__(self) -> str:
        return type(self).__name__.lower()

    def ledger_for(self, device: AuthorKey) -> MemoryLedger:
        """Return what it shows to one Peer."""
        raise NotImplementedError

    def open(self, stream: Stream, *, is_dialler: bool) -> Session | None:
        device = stream.dialled if is_dialler else stream.dialler
        if device in self.sessions:
            return None
        greeting = self.ledger_for(device).greeting(device)
        nonce = self.chance.randbytes(NONCE_SIZE_BYTES)
        exchange = SyncExchange(self.device, device, greeting, nonce, is_dialler=is_dialler)
        session = Session(self, stream, exchange, is_dialler=is_dialler)
        self.sessions[device] = session
        return session

    def over(self, session: Session) -> None:
        if self.sessions.get(session.device) is session:
            del self.sessions[session.device]

    def do(self, session: Session, action: Action) -> object:
        if isinstance(action, ReadEntries):
            # As with everybody, the Bodies that say who speaks for whom always come along.
            action = replace(action, with_bodies=True)
        result = self.ledger_for(session.device).do(action, session.device)
        return UNANSWERED if result is _NOTHING else result

    def check(self, session: Session, take: Take) -> object:  # noqa: ARG002
        return ()

    def take(self, session: Session, take: Take, batch: object) -> object:  # noqa: ARG002
        return self.ledger_for(session.device).do(take, session.device)

    def write(self) -> None:
        """Go on with what it does, unasked."""

    def agitate(self, session: Session) -> None:
        """Do its worst on one session."""

    def news(self) -> None:
        for session in tuple(self.sessions.values()):
            session.step(session.exchange.news)


def fill(ledger: MemoryLedger, device: AuthorKey, entries: Iterable[CheckedEntry]) -> None:
    """Put real Entries into a ledger that is a Device's own."""
    ledger.device = device
    for it in entries:
        ledger._add(SentEntry(it.header_bytes, it.signature, it.body))


class Forker(Foe):
    """Writes two branches with one key, and shows each Peer one of them."""

    def __init__(self, seed: str, chance: random.Random) -> None:
        super().__init__(seed, chance)
        for number in range(chance.randint(1, 3)):
            self.writer.append("profile/1", self.writer.profile(f"one {number}"))
        at = chance.randint(2, len(self.writer.entries))
        self.branches = [self.writer, self.writer.fork_at(at)]
        self.ledgers = [MemoryLedger(f"{seed} {side}") for side in (0, 1)]
        self._sides: dict[AuthorKey, int] = {}
        self.shown: set[int] = set()
        self._told = [0, 0]
        for side in (0, 1):
            fill(self.ledgers[side], self.device, self.author.root_entries)
            self._tell(side)
        self.write()

    def _tell(self, side: int) -> None:
        entries = self.branches[side].entries
        fill(self.ledgers[side], self.device, entries[self._told[side] :])
        self._told[side] = len(entries)

    def write(self) -> None:
        side = self.chance.randrange(2)
        branch = self.branches[side]
        for it in (branch, self.branches[1]) if len(self.branches[1].entries) < 3 else (branch,):
            kind = self.chance.choice(("profile/1", "follow/1", "listing/1"))
            it.append(kind)
        for one in (0, 1):
            self._tell(one)
        self.news()

    def ledger_for(self, device: AuthorKey) -> MemoryLedger:
        if device not in self._sides:
            self._sides[device] = len(self._sides) % 2
        return self.ledgers[self._sides[device]]

    def do(self, session: Session, action: Action) -> object:
        if isinstance(action, TakeFork):
            return Taken(Outcome())
        if isinstance(action, Look):
            return Looked(Wanted())  # it has no use for what others write
        return super().do(session, action)


class Withholder(Foe):
    """Announces what it never gives: it answers with nothing, or not at all."""

    is_to_be_cut = True

    def __init__(self, seed: str, chance: random.Random) -> None:
        super().__init__(seed, chance)
        self.is_silent = chance.random() < 0.5
        self._ledger = MemoryLedger(seed)
        fill(self._ledger, self.device, [*self.author.root_entries, *self.writer.entries])
        self._seed = seed
        self._count = 0
        for _ in range(3):
            self.write()

    def ledger_for(self, device: AuthorKey) -> MemoryLedger:  # noqa: ARG002
        return self._ledger

    def write(self) -> None:
        self._count += 1
        self._ledger.write(f"{self._seed} nobody {self._count}", self.chance.randint(1, 20))
        self.news()

    def do(self, session: Session, action: Action) -> object:
        if isinstance(action, ReadEntries):
            return UNANSWERED if self.is_silent else EntriesPage(())
        if isinstance(action, Look):
            return Looked(Wanted())
        return super().do(session, action)

    def agitate(self, session: Session) -> None:  # noqa: ARG002
        self.write()


class Flooder(Foe):
    """Sends what nobody asked for, in one of many ways, on top of a session like any other."""

    is_to_be_cut = True
    STYLES: Final = (
        "junk",
        "oversize",
        "recon",
        "heads",
        "entries",
        "wants",
        "forks",
        "forged",
        "own",
        "answers",
        "got",
        "seen",
    )

    def __init__(self, seed: str, chance: random.Random) -> None:
        super().__init__(seed, chance)
        self.style = chance.choice(self.STYLES)
        self._ledger = MemoryLedger(seed)
        fill(self._ledger, self.device, [*self.author.root_entries, *self.writer.entries])
        self._seed = seed
        self._count = 0
        if self.style == "forged":
            self.write()

    def __repr__(self) -> str:
        return f"flooder by {self.style}"

    def ledger_for(self, device: AuthorKey) -> MemoryLedger:  # noqa: ARG002
        return self._ledger

    def write(self) -> None:
        if self.style == "forged":
            # Entries that nobody signed, announced and given as if somebody had.
            self._count += 1
            self._ledger.write(f"{self._seed} made up {self._count}", 3)
            self.news()

    def do(self, session: Session, action: Action) -> object:
        if isinstance(action, Look):
            return Looked(Wanted())
        if isinstance(action, ReadHeads) and self.style == "own":
            page = super().do(session, action)
            victim = session.device
            row = HeadsRow(victim, 900, 900 + self._count, sha256(victim).digest())
            return type(page)((*page.rows, row), page.up_to, page.more)
        return super().do(session, action)

    def agitate(self, session: Session) -> None:
        self._count += 1
        frames = self._frames(session)
        session.out.data += b"".join(frames)

    def _frames(self, session: Session) -> list[bytes]:
        chance = self.chance
        anybody = key(f"{self._seed} {self._count}")
        match self.style:
            case "junk":
                return [chance.randbytes(chance.randint(1, 5000))]
            case "oversize":
                size = chance.randint(FRAME_SIZE_BYTES_MAX + 1, 2**32 - 1)
                return [size.to_bytes(4, "big"), bytes(chance.randint(0, 20_000))]
            case "recon":
                print_ = chance.randbytes(FINGERPRINT_SIZE_BYTES)
                return [write(Recon((ReconRange(None, FINGERPRINT, print_),)))] * _BURST
            case "heads":
                rows = tuple(
                    Row(key(f"{anybody.hex()} {n}"), 1, 9, anybody) for n in range(SYNC_HEADS_MAX)
                )
                return [write(Heads(rows, self._count * 10_000, False))] * 2
            case "entries" | "answers":
                some = entry(anybody, 1, body_bytes=60_000)
                items = (Item(some.header, some.sig, some.body),)
                if self.style == "entries":
                    return [write(Entries(chance.randint(1, 9), items, False))] * _BURST
                return [write(Bodies(chance.randint(1, 9), (), True))] * _BURST
            case "wants":
                first = 1_000_000 + self._count * 100
                parts = (WantRange(anybody, 1, 2000),)
                return [write(Want(first + n, parts, True)) for n in range(_BURST)]
            case "forks":
                return [write(ForkShown(chance.randbytes(500)))] * _BURST
            case "own":
                session.step(session.exchange.news)
                self._ledger.write(f"{self._seed} bait {self._count}")
                session.step(session.exchange.news)
                return []
            case "forged":
                self.write()
                return []
            case "got":
                return [write(Got(anybody))]
            case "seen":
                return [write(Seen(chance.randrange(2**40)))]
            case _:
                raise AssertionError(self.style)
