"""One world from one seed: honest Devices, those who are not, and everything that goes wrong.

* The seed decides the clock, chance, who is there, what they write, in which order bytes arrive
  and results come back, and which faults happen when.  Nothing else does: ``trace`` is the same
  for the same seed.
* First the faults have their time.  Then they stop, the honest Devices are connected in some way,
  and everything runs until nothing is left to do.
* What must be true then, and what must be true at every step, is asserted here; each message names
  the seed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Final, Self

import pytest

from hanse.core.crypto.signing import Signer
from hanse.core.errors import CopiedDisk
from hanse.core.limits import (
    FRAME_SIZE_BYTES_MAX,
    SYNC_ANSWER_SIZE_BYTES_MAX,
    SYNC_OPEN_BYTES_MAX,
)
from tests.fakes.author import Writer
from tests.fakes.chance import SeededChance
from tests.fakes.clock import FakeClock
from tests.simulation.sim_foes import Flooder, Foe, Forker, Withholder
from tests.simulation.sim_peer import RENEW_MS, SimPeer, Template
from tests.simulation.sim_shell import WINDOW_BYTES, Session, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hanse.core.ledger.entry import CheckedEntry
    from hanse.core.model.ids import AuthorKey

START_MS: Final = 1_700_000_000_000
FAULTS: Final = frozenset(
    {"loss", "repeat", "partition", "crash", "torn", "fork", "withhold", "flood", "skew", "links"}
)
#: What one session may hold in memory: answers asked for, a frame that is not whole, an answer
#: that waits to be written, and the rows of a page of Heads and of a list being compared.
HELD_BYTES: Final = (
    SYNC_OPEN_BYTES_MAX + FRAME_SIZE_BYTES_MAX + SYNC_ANSWER_SIZE_BYTES_MAX + 4 * 1024**2
)
#: What may be in flight: a window each way, which a frame may overrun once it was begun.
IN_FLIGHT_BYTES: Final = 2 * (WINDOW_BYTES + FRAME_SIZE_BYTES_MAX)
STEPS: Final = 240
STEPS_SMALL: Final = 100
_QUIET_STEPS: Final = 60_000  # in which everything has to come to rest
_DEEP_EVERY: Final = 64  # steps, since looking at every object takes as long as some of them
_DEEP_EVERY_OF_FOES: Final = 12
_CUT_ROUNDS: Final = 80


@dataclass
class Figures:
    """What happened in one world."""

    steps: int = 0
    sessions: int = 0
    frames: int = 0
    bytes_sent: int = 0
    crashes: int = 0
    torn: int = 0
    lost: int = 0
    entries: int = 0
    forks: int = 0
    held_bytes: int = 0
    in_flight_bytes: int = 0
    stale: int = 0
    happened: dict[str, int] = field(default_factory=dict)


def _name(event: Callable[[], None]) -> str:
    return event.__name__.strip("_")


class World:
    """Everybody, and everything between them."""

    def __init__(
        self,
        seed: int,
        base: Path,
        templates: list[Template],
        *,
        faults: frozenset[str] | None = None,
        steps: int | None = None,
        is_small: bool = False,
        often: Mapping[str, int] | None = None,
    ) -> None:
        """Make the world of ``seed`` below ``base``; ``faults`` are drawn if none are named.

        A small one has fewer peers, faults and steps.  ``often`` weighs events otherwise, by name.
        """
        self.seed = seed
        self.chance = chance = random.Random(f"world {seed}")
        drawn = frozenset(
            it for it in sorted(FAULTS) if chance.random() < (0.4 if is_small else 0.6)
        )
        self.faults = drawn if faults is None else faults
        self.steps = steps or (STEPS_SMALL if is_small else STEPS)
        self.often = often or {}
        self.clock = FakeClock(START_MS + chance.randrange(10**9))
        self.figures = Figures()
        self._trace = sha256()
        bodies = Writer(Signer.from_seed(bytes(32)), SeededChance(f"bodies {seed}"))
        count = 4 if is_small else chance.choice((4, 4, 4, 4, 5, 6))
        self.peers: list[SimPeer] = []
        is_acquainted = chance.random() < 0.7
        for template in templates[:count]:
            skew_ms = chance.randint(-60_000, 60_000) if "skew" in self.faults else 0
            peer = SimPeer(
                template,
                base,
                self.clock,
                f"{seed}",
                skew_ms,
                bodies,
                is_acquainted=is_acquainted,
            )
            peer.on_sent = self._on_sent  # type: ignore[method-assign]
            self.peers.append(peer)
        self.foes: list[Foe] = []
        for name, made in (("fork", Forker), ("withhold", Withholder), ("flood", Flooder)):
            if name in self.faults:
                self.foes.append(made(f"{seed} {name}", chance))
        self.parties = {party.device: party for party in (*self.peers, *self.foes)}
        self.links = self._links()
        self.away: frozenset[AuthorKey] = frozenset()  # on the other side of a partition
        self.streams: list[Stream] = []
        self.private: list[tuple[CheckedEntry, SimPeer, SimPeer]] = []
        self.met_by: dict[AuthorKey, set[SimPeer]] = {}  # foe -> who had a session with it
        self.is_calm = False

    def close(self) -> None:
        for peer in self.peers:
            peer.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def trace(self) -> str:
        """Return a digest of everything that was sent, in its order."""
        return self._trace.hexdigest()

    def says(self, what: str) -> str:
        """Word a broken promise so that it can be seen again."""
        return f"seed {self.seed}: {what} (faults {sorted(self.faults)})"

    # --- its whole life -------------------------------------------------------------------------

    def run(self) -> Figures:
        """Let everything happen, and check what must be true."""
        for _ in range(self.steps):
            self._event()
        self._cut_off()
        if "torn" in self.faults and self.chance.random() < 0.7:
            self._lose_what_left()
            for _ in range(self.steps // 4):
                self._event()
        self._calm()
        self._check()
        return self.figures

    def _event(self) -> None:
        chance = self.chance
        self.figures.steps += 1
        if chance.random() < 0.85 and self._step():
            return
        weighted: list[tuple[Callable[[], None], int]] = [
            (self._tick, 6),
            (self._dial, 14),
            (self._write, 10),
            (self._whisper, 3),
            (self._hand_over, 3),
            (self._keep_cursors, 2),
            (self._foe_acts, 6 if self.foes else 0),
            (self._lose, 4 if "loss" in self.faults else 0),
            (self._partition, 2 if "partition" in self.faults else 0),
            (self._crash, 2 if "crash" in self.faults else 0),
            (self._tear, 3 if "torn" in self.faults else 0),
            (self._relink, 2 if "links" in self.faults else 0),
        ]
        events = [event for event, _ in weighted]
        weights = [self.often.get(_name(event), weight) for event, weight in weighted]
        chosen = chance.choices(events, weights)[0]
        name = _name(chosen)
        self.figures.happened[name] = self.figures.happened.get(name, 0) + 1
        self._note(name)
        chosen()

    def _note(self, *what: object) -> None:
        self._trace.update(repr(what).encode())

    # --- one step of a session ------------------------------------------------------------------

    def _sessions(self) -> list[Session]:
        found: list[Session] = []
        for peer in self.peers:
            found.extend(peer.all_sessions())
        for foe in self.foes:
            found.extend(foe.sessions.values())
        return found

    def _step(self) -> bool:
        """Do one thing that can be done; say no when nothing can."""
        chance = self.chance
        sessions = self._sessions()
        possible = [(session, step) for session in sessions for step in session.possible()]
        accepting = [it for it in self.streams if not it.is_accepted]
        if not possible and not accepting:
            return False
        place = chance.randrange(len(possible) + len(accepting))
        if place >= len(possible):
            self._accept(accepting[place - len(possible)])
            return True
        session, step = possible[place]
        self._note("step", step.__name__, session.is_dialler, session.device)
        step(self._portion)
        self._look_at_memory(session)
        self._sweep()
        return True

    def _portion(self, size: int) -> int:
        """Return how much of what is in flight arrives now: mostly all, sometimes a byte."""
        return size if self.chance.random() < 0.6 else self.chance.randint(0, size)

    def _sweep(self) -> None:
        self.streams = [
            it
            for it in self.streams
            if not it.is_accepted or any(session.stream is it for session in self._sessions())
        ]

    def _look_at_memory(self, session: Session) -> None:
        figures = self.figures
        flying = session.stream.in_flight_bytes
        figures.in_flight_bytes = max(figures.in_flight_bytes, flying)
        if not isinstance(session.party, SimPeer) or session.is_over:
            return
        assert len(session.out.data) <= IN_FLIGHT_BYTES, self.says(
            f"{len(session.out.data)} bytes are in flight"
        )
        held = session.queued_bytes()
        is_foe = isinstance(self.parties[session.device], Foe)
        if figures.steps % (_DEEP_EVERY_OF_FOES if is_foe else _DEEP_EVERY) == 0:
            held = session.held_bytes()
        figures.held_bytes = max(figures.held_bytes, held)
        assert held <= HELD_BYTES, self.says(f"a session of {session.party} holds {held} bytes")

    # --- streams --------------------------------------------------------------------------------

    def _links(self) -> set[frozenset[AuthorKey]]:
        """Draw who is connected to whom: the honest ones to each other in some way, foes to two."""
        chance = self.chance
        devices = [peer.device for peer in self.peers]
        chance.shuffle(devices)
        links = {
            frozenset((device, chance.choice(devices[:at])))
            for at, device in enumerate(devices)
            if at
        }
        more = [frozenset(it) for it in combinations(devices, 2) if frozenset(it) not in links]
        links |= set(chance.sample(more, chance.randint(0, min(2, len(more)))))
        for foe in self.foes:
            links |= {frozenset((foe.device, it)) for it in chance.sample(devices, 2)}
        return links

    def _is_up(self, pair: frozenset[AuthorKey]) -> bool:
        return len(pair & self.away) != 1

    def _ordered(self) -> list[frozenset[AuthorKey]]:
        return sorted(self.links, key=sorted)

    def _dial(self) -> None:
        pairs = [it for it in self._ordered() if self._is_up(it)]
        busy = {frozenset((it.dialler, it.dialled)) for it in self.streams}
        if "repeat" not in self.faults or self.chance.random() < 0.7:
            pairs = [it for it in pairs if it not in busy]
        if pairs:
            pair = sorted(self.chance.choice(pairs))
            self.chance.shuffle(pair)
            self._open(*pair)
            if "repeat" in self.faults and self.chance.random() < 0.3:
                self._open(*reversed(pair))

    def _open(self, dialler: AuthorKey, dialled: AuthorKey) -> None:
        if self._refuses(dialler, dialled) or self._refuses(dialled, dialler):
            return
        stream = Stream(dialler, dialled)
        self.figures.sessions += 1
        if self.parties[dialler].open(stream, is_dialler=True) is not None:
            self.streams.append(stream)
            self._met(dialler, dialled)

    def _refuses(self, who: AuthorKey, whom: AuthorKey) -> bool:
        party = self.parties[who]
        return isinstance(party, SimPeer) and party.is_refused(whom)

    def _met(self, one: AuthorKey, other: AuthorKey) -> None:
        for foe, peer in ((one, other), (other, one)):
            party, met = self.parties[foe], self.parties[peer]
            if isinstance(party, Foe) and isinstance(met, SimPeer):
                self.met_by.setdefault(foe, set()).add(met)

    def _accept(self, stream: Stream) -> None:
        stream.is_accepted = True
        self._note("accept", stream.dialled)
        if self.parties[stream.dialled].open(stream, is_dialler=False) is None:
            stream.break_off(lambda _size: 0)

    def _on_sent(self, by: SimPeer, session: Session, frame: bytes) -> None:
        self.figures.frames += 1
        self.figures.bytes_sent += len(frame)
        self._note("sent", by.name, frame)
        for entry, writer, reader in self.private:
            assert entry.body is not None
            if session.device not in {writer.device, reader.device} and entry.body in frame:
                raise AssertionError(self.says(f"{by} sends a Private body to a third party"))

    # --- what goes wrong ------------------------------------------------------------------------

    def _lose(self) -> None:
        if self.streams:
            self._break(self.chance.choice(self.streams))

    def _break(self, stream: Stream) -> None:
        self.figures.lost += 1
        stream.break_off(lambda size: self.chance.randint(0, size))
        if not stream.is_accepted:
            self.streams.remove(stream)

    def _break_all(self, of: Callable[[Stream], bool]) -> None:
        for stream in [it for it in self.streams if of(it)]:
            self._break(stream)

    def _partition(self) -> None:
        if self.away:
            self.away = frozenset()
            return
        devices = sorted(self.parties)
        self.away = frozenset(self.chance.sample(devices, self.chance.randint(1, len(devices) - 1)))
        self._break_all(lambda it: not self._is_up(frozenset((it.dialler, it.dialled))))

    def _relink(self) -> None:
        self.links = self._links()
        self._break_all(
            lambda it: (
                frozenset((it.dialler, it.dialled)) not in self.links and self.chance.random() < 0.7
            )
        )

    def _crash(self) -> None:
        self._kill(self.chance.choice(self.peers), None)

    def _tear(self) -> None:
        # One machine with a bad disk: where every copy may vanish, nothing can be promised.
        self._kill(self.peers[0], self.chance)

    def _lose_what_left(self) -> None:
        """Tear the disk of the first Device behind what it wrote and somebody has taken."""
        victim, other = self.peers[:2]
        self._open(victim.device, other.device)
        self._run_until_idle()
        if victim.may_sign:
            victim.write(self.chance, [other.identity])
            self._run_until_idle()
        self._tear()

    def _kill(self, peer: SimPeer, tear: random.Random | None) -> None:
        self._break_all(lambda it: it.joins(peer.device))
        peer.crash(tear)
        self.figures.crashes += 1
        self.figures.torn += tear is not None
        self._sweep()

    # --- what people do -------------------------------------------------------------------------

    def _tick(self) -> None:
        self.clock.advance(self.chance.choice((100, 700, 3000, 12_000)))
        for peer in self.peers:
            peer.tick()

    def _keep_cursors(self) -> None:
        self.chance.choice(self.peers).keep_cursors()

    def _write(self) -> None:
        peer = self.chance.choice(self.peers)
        others = [it.identity for it in (*self.peers, *self.foes) if it is not peer]
        if peer.may_sign:
            self._note(peer.write(self.chance, others))
            return
        with pytest.raises(CopiedDisk):
            peer.write(self.chance, others)

    def _whisper(self) -> None:
        writer, reader = self.chance.sample(self.peers, 2)
        if writer.may_sign:
            entry = writer.whisper(reader, f"between us {len(self.private)}")
            if entry is not None:
                self.private.append((entry, writer, reader))

    def _hand_over(self) -> None:
        for writer in self.peers:
            for reader in self.peers:
                if writer is not reader:
                    writer.hand_over(reader)

    def _foe_acts(self) -> None:
        foe = self.chance.choice(self.foes)
        if self.chance.random() < 0.5:
            foe.write()
        for session in tuple(foe.sessions.values()):
            if not session.is_over and not session.out.is_closed:
                foe.agitate(session)

    # --- how it ends ----------------------------------------------------------------------------

    def _cut_off(self) -> None:
        """Let the foes have their say, until nobody listens to who withholds and who floods."""
        self.away = frozenset()
        for foe in self.foes:
            for peer in self.peers[: 1 if foe.is_to_be_cut else 2]:
                if foe.device not in peer.sessions:
                    self._open(foe.device, peer.device)
        self._run_until_idle()
        loud = [foe for foe in self.foes if foe.is_to_be_cut]
        for _ in range(_CUT_ROUNDS):
            sessions = [it for foe in loud for it in foe.sessions.values() if not it.is_over]
            if not sessions:
                break
            for session in sessions:
                foe = session.party
                assert isinstance(foe, Foe)
                foe.agitate(session)
            self._run_until_idle()
            self.clock.advance(10_000)
            for peer in self.peers:
                peer.tick()
            self._run_until_idle()
        for foe in loud:
            assert not foe.sessions, self.says(f"the {foe} is still listened to")

    def _calm(self) -> None:
        """Stop all faults, connect the honest ones, and let everything come to rest."""
        self.is_calm = True
        self.away = frozenset()
        foes = {foe.device for foe in self.foes}
        self._break_all(lambda it: bool(foes & {it.dialler, it.dialled}))
        # The same links as before: who met now for the first time would compare everything, and
        # so find what was lost on the way.
        self.links = {it for it in self.links if not it & foes}
        # A stopped Device passes on all but what it lost of its own Feed, which it never takes in.
        sound = [peer.device for peer in self.peers if peer.may_sign]
        if len(sound) < len(self.peers):
            self.links |= {frozenset(it) for it in pairwise(sound)}
        self._settle()
        if any(self._is_held_back(peer) for peer in self.peers):
            # Who left something once needs three that know nothing of it.
            self.links = {frozenset((a.device, b.device)) for a, b in combinations(self.peers, 2)}
            self._settle()
        if self.figures.torn:
            # What a disk lost is found by comparing everything, which is done every day.
            self._break_all(lambda _: True)
            self._run_until_idle()
            self.clock.advance(RENEW_MS)
            self._settle()

    @staticmethod
    def _is_held_back(peer: SimPeer) -> bool:
        return peer.may_sign and not peer.replicating.confirmation().may_leave

    def _settle(self) -> None:
        for _ in range(8):
            for pair in self._ordered():
                one, other = sorted(pair)
                party = self.parties[one]
                assert isinstance(party, SimPeer)
                if other not in party.sessions:
                    self._open(one, other)
            self._run_until_idle()
            moved = False
            for peer in self.peers:
                peer.tick()
                for other in self.peers:
                    moved |= other is not peer and bool(peer.hand_over(other))
            if self._is_at_rest() and not moved:
                return
            self.clock.advance(2_000)
        stuck = [
            f"{it.party} with {self.parties[it.device]}: {it.exchange.phase.value}, "
            f"{it.exchange.waiting_for}, settled {it.is_settled}"
            for it in self._sessions()
            if not it.is_settled
        ]
        raise AssertionError(self.says(f"it does not come to rest: {stuck}"))

    def _is_at_rest(self) -> bool:
        sessions = self._sessions()
        joined = {frozenset((it.party.device, it.device)) for it in sessions if it.end is None}
        return self.links <= joined and all(it.is_settled for it in sessions)

    def _run_until_idle(self) -> None:
        for _ in range(_QUIET_STEPS):
            self.figures.steps += 1
            if not self._step():
                return
        raise AssertionError(self.says("it goes on and on"))

    # --- what must be true at the end -----------------------------------------------------------

    def _check(self) -> None:
        stale = {peer for peer in self.peers if not peer.may_sign}
        self.figures.stale = len(stale)
        self._check_own(stale)
        held = {peer: peer.ids() for peer in self.peers}
        self.figures.entries = sum(len(ids) for ids in held[self.peers[-1]].values())
        self._check_agreement(held, stale)
        self._check_forks(held)
        self._check_private()
        self._check_conduct()

    def _check_own(self, stale: set[SimPeer]) -> None:
        for peer in self.peers:
            if peer in stale:
                assert peer.torn, self.says(f"{peer} was stopped though its disk is sound")

    def _check_agreement(self, held: dict[SimPeer, dict], stale: set[SimPeer]) -> None:
        judge = next(peer for peer in self.peers if peer not in stale)
        for peer, ids in held.items():
            # A stopped Device takes nothing of its own back: what it holds is a part.
            own = {peer.device} if peer in stale else set()
            mine = {author: it for author, it in ids.items() if author not in own}
            theirs = {author: it for author, it in held[judge].items() if author not in own}
            assert mine == theirs, self.says(
                f"{peer} and {judge} hold different Entries: {self._difference(mine, theirs)}"
            )
            if peer not in stale:
                assert peer.digest() == judge.digest(), self.says(
                    f"{peer} and {judge} hold the same Entries and show different things"
                )
        everything = {entry_id for ids in held[judge].values() for entry_id in ids}
        for peer in self.peers:
            lost = [it.hex()[:8] for it in peer.acknowledged if it not in everything]
            assert not lost or peer in stale, self.says(f"Entries of {peer} are lost: {lost}")

    def _difference(self, mine: dict, theirs: dict) -> dict[str, tuple[int, int]]:
        return {
            repr(self.parties.get(author, author.hex()[:8])): (
                len(mine.get(author, ())),
                len(theirs.get(author, ())),
            )
            for author in sorted(mine.keys() | theirs.keys())
            if mine.get(author) != theirs.get(author)
        }

    def _check_forks(self, held: dict[SimPeer, dict]) -> None:
        honest = {peer.device for peer in self.peers}
        for peer in self.peers:
            made = honest & peer.proved()
            assert not made, self.says(f"{peer} holds a Fork of an honest Device")
        for foe in self.foes:
            if not isinstance(foe, Forker):
                continue
            ids = {it for peer in self.peers for it in held[peer].get(foe.device, ())}
            one, other = (set(branch.ids) for branch in foe.branches)
            if not (ids & (one - other) and ids & (other - one)):
                continue  # only one branch was ever shown to anybody honest
            self.figures.forks += 1
            for peer in self.peers:
                assert foe.device in peer.proved(), self.says(f"{peer} has no proof of a Fork")

    def _check_private(self) -> None:
        for entry, writer, reader in self.private:
            for peer in self.peers:
                if peer in {writer, reader}:
                    continue
                assert not peer.has_body(entry.entry_id), self.says(
                    f"{peer} holds a Private body of {writer} for {reader}"
                )

    def _check_conduct(self) -> None:
        honest = {peer.device for peer in self.peers}
        for peer in self.peers:
            blamed = [self.parties[it] for it in sorted(honest & peer.conduct.keys())]
            assert not blamed, self.says(f"{peer} blames {blamed}, who did nothing")
