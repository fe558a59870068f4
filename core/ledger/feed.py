"""Acceptance of one Author's Entries, in order, against what is already trusted.

The rules, which ``FeedVerifier`` holds and nothing else repeats (A1 to A3, A5
are ``parse_entry`` and ``check_entry`` of ``ledger.entry``):

* A4  An Entry held already is Known.
* A6  Another Entry at a held seq is a Fork.
* A7  A time more than ten minutes ahead waits.
* A8  An Entry is accepted only after the one before it, back to seq 1.
* A9  A next Entry that names another predecessor is a Fork with the Head.
* A10 A ``root`` that commits to another history, or a time before the Head's,
  ends the Feed here.
* A11 Entry 1 says whose Feed it is; later ones are of a kind the Author may
  sign.  Otherwise the Feed ends here as in A10.
* A12 A Body that is not the one named is dropped; the Header stays.
* A14 A Body that breaks its kind's schema is void; the Header stays.

A13 (cuts by revocation, disputes) is not decided on arrival but whenever it is
asked (``ledger.identities``), so that acceptance depends on no order.

Nothing in this file reads a clock, a socket or a database.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

import msgspec

from hanse.core.errors import RejectedEntry
from hanse.core.ledger.entry import CheckedEntry, Head, body_fits
from hanse.core.ledger.forks import Fork, fork_of
from hanse.core.ledger.identities import (
    ROLE_ROOT,
    Opening,
    Standing,
    delegation_holds,
)
from hanse.core.ledger.kinds import KINDS, Body, Device1, Identity1, parse_body
from hanse.core.ledger.tree import Peaks
from hanse.core.limits import CLOCK_AHEAD_MS_MAX, ROOT_FEED_ENTRIES_MAX
from hanse.core.model.ids import AuthorKey, IdentityId

_OPENING_KINDS: Final = frozenset({"device/1", "identity/1"})
_ROTATE: Final = "rotate/1"


@unique
class BodyState(Enum):
    """What is held of an Entry's Body."""

    ABSENT = "absent"
    HERE = "here"
    ERASED = "erased"
    VOID = "void"
    PRIVATE = "private"  # a sealed Body that was not given to us


@unique
class FeedState(Enum):
    """Whether a Feed can go on."""

    LIVE = "live"
    FROZEN = "frozen"  # a Fork is known
    BROKEN = "broken"  # the Author signed an Entry that cannot follow; the Feed ends
    ENDED = "ended"  # a rotated root feed


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """The Entry is the next one of its Feed.

    ``body`` is the parsed Body where one is held and valid; ``body_fault`` says
    what was wrong with one that was dropped (A12).
    """

    body_state: BodyState
    body: Body | None = None
    body_fault: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """The Entry is held already."""


@dataclass(frozen=True, slots=True)
class Parked:
    """The Entry came too early: ``future``, ``gap``, ``delegation`` or ``body``."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The Entry breaks a rule; ``ends_feed`` when its Author signed what cannot follow (A10)."""

    reason: str
    detail: str
    ends_feed: bool = False


@dataclass(frozen=True, slots=True)
class Forked:
    """The Entry contradicts one that is held.

    ``accepted`` is given when the other one is an Entry that had ended the Feed
    (A10) and this one follows well: then the Feed goes on with it, disputed.
    """

    fork: Fork
    accepted: Accepted | None = None


Verdict = Accepted | Known | Parked | Rejected | Forked

HeldAt = Callable[[int], CheckedEntry | None]
StandingOf = Callable[[IdentityId], Standing | None]


def judge_body(entry: CheckedEntry) -> Accepted:
    """Say what to hold of the Body that came with ``entry`` (rules A12 and A14)."""
    raw = entry.body
    rule = KINDS.get(entry.kind)
    if raw is None:
        is_private = rule is not None and rule.private
        return Accepted(BodyState.PRIVATE if is_private else BodyState.ABSENT)
    if not body_fits(entry, raw):
        header = entry.header
        return Accepted(
            BodyState.ABSENT,
            body_fault=f"body of {len(raw)} bytes is not the one of {header.body_len} bytes "
            f"with hash {header.body_hash.hex()}",
        )
    if rule is None:
        return Accepted(BodyState.HERE)  # an unknown kind: kept and passed on, not read
    try:
        return Accepted(BodyState.HERE, parse_body(entry.kind, raw))
    except RejectedEntry as error:
        return Accepted(BodyState.VOID, body_fault=error.detail)


class FeedVerifier:
    """What is trusted of one Feed, and the only way to add to it."""

    def __init__(
        self,
        author: AuthorKey,
        *,
        held_at: HeldAt,
        standing_of: StandingOf,
        head: Head | None = None,
        peaks: Peaks | None = None,
        opening: Opening | None = None,
        state: FeedState = FeedState.LIVE,
        frozen_seq: int | None = None,
        broken: CheckedEntry | None = None,
    ) -> None:
        """Start with an empty Feed, or where an earlier verifier stopped.

        ``held_at(seq)`` returns the accepted Entry at a seq, ``standing_of`` what
        is known of an Identity; both are asked only when a rule needs them.
        ``broken`` is the Entry that ended a broken Feed.
        """
        assert (head is None) == (opening is None)
        self.author = author
        self.head = head
        self.peaks = Peaks() if peaks is None else peaks
        self.opening = opening
        self.state = state
        self.frozen_seq = frozen_seq
        self.broken = broken
        self._held_at = held_at
        self._standing_of = standing_of

    def at(self, head: Head | None, peaks: Peaks) -> FeedVerifier:
        """Return a verifier at an earlier Entry of the same Feed; disputes stay known.

        Without a ``head`` it is before Entry 1, and knows no more whose Feed it is.
        """
        return FeedVerifier(
            self.author,
            held_at=self._held_at,
            standing_of=self._standing_of,
            head=head,
            peaks=peaks,
            opening=None if head is None else self.opening,
            state=self.state,
            frozen_seq=self.frozen_seq,
        )

    def accept(self, entry: CheckedEntry, now_ms: int) -> Verdict:
        """Say what ``entry`` is; move the Head only when it is the next one.

        A refusal leaves everything as it was, but for what it proves about the
        Feed itself: a Fork freezes it, a broken Entry ends it.
        """
        header = entry.header
        assert header.author == self.author
        head = self.head
        seq_next = 1 if head is None else head.seq + 1

        # (A4, A6) Something is held at this seq: the same, or a Fork.
        if header.seq < seq_next:
            return self._compare_held(entry)
        if self.broken is not None and self.broken.seq == header.seq:
            return self._compare_broken(self.broken, entry, now_ms)
        return self._accept_next(entry, now_ms)

    def _accept_next(self, entry: CheckedEntry, now_ms: int) -> Verdict:
        header = entry.header
        head = self.head
        seq_next = 1 if head is None else head.seq + 1

        # (A7, A8) Too early, by the clock or by its place.
        if header.time_ms > now_ms + CLOCK_AHEAD_MS_MAX:
            return Parked("future")
        if header.seq > seq_next:
            return Parked("gap")

        # (A9) It names another predecessor than the Head.
        if head is not None and header.prev != head.entry_id:
            previous = self._held_at(head.seq)
            assert previous is not None
            return self._forked(previous, entry)

        # (A10) It commits to another history, or runs backwards.
        if head is not None:
            if header.root != self.peaks.root():
                return self._ends(entry, "broken", f"seq {header.seq} commits to another history")
            if header.time_ms < head.time_ms:
                return self._ends(
                    entry, "broken", f"time {header.time_ms} is before {head.time_ms} of the head"
                )

        # (A11) Whose Feed this is, and what its Author may sign.
        opening = self.opening
        if opening is None:
            verdict = self._open(entry)
            if not isinstance(verdict, Opening):
                return verdict
            opening = verdict
        elif (why := self._may_not_sign(opening, entry)) is not None:
            return self._ends(entry, "role", why)

        # (A12, A14) The Body never decides about the Header, except in a root feed,
        # where a missing one would hide a revocation.
        accepted = judge_body(entry)
        if opening.is_root and accepted.body_state is BodyState.ABSENT:
            return Parked("body")

        self.head = Head(header.seq, entry.entry_id, header.time_ms)
        self.peaks.add(entry.entry_id)
        self.opening = opening
        if opening.is_root and header.kind == _ROTATE and accepted.body_state is BodyState.HERE:
            self.state = FeedState.ENDED if self.state is FeedState.LIVE else self.state
        return accepted

    def _compare_held(self, entry: CheckedEntry) -> Verdict:
        held = self._held_at(entry.seq)
        assert held is not None
        if held.entry_id == entry.entry_id:
            return Known()
        # The lower of the two disputes counts: if it also contradicts the Entry
        # before, another branch left the Feed earlier than this seq.
        if entry.seq > 1:
            before = self._held_at(entry.seq - 1)
            assert before is not None
            if entry.header.prev != before.entry_id:
                return self._forked(before, entry)
        return self._forked(held, entry)

    def _compare_broken(self, broken: CheckedEntry, entry: CheckedEntry, now_ms: int) -> Verdict:
        """Compare with the Entry that ended the Feed: the same, or a Fork with it.

        The Feed goes on with an Entry that follows well, so that it ends up the
        same whichever of the two came first.  One that cannot be judged yet waits: the
        Fork is named when it can, and the Entry is not lost to the Feed.
        """
        if broken.entry_id == entry.entry_id:
            return Known()
        fork = fork_of(broken, entry)
        assert fork is not None
        verdict = self._accept_next(entry, now_ms)
        self.broken = broken
        if isinstance(verdict, Parked | Forked):
            return verdict  # a Fork with the Head (A9) disputes more than this one
        self.freeze(fork.disputed_seq)
        return Forked(fork, verdict if isinstance(verdict, Accepted) else None)

    def _forked(self, held: CheckedEntry, entry: CheckedEntry) -> Forked:
        fork = fork_of(held, entry)
        assert fork is not None
        self.freeze(fork.disputed_seq)
        return Forked(fork)

    def freeze(self, disputed_seq: int) -> None:
        """Dispute the Feed from ``disputed_seq`` on; the lowest ever named stays."""
        self.state = FeedState.FROZEN
        self.frozen_seq = min(disputed_seq, self.frozen_seq or disputed_seq)

    def _ends(self, entry: CheckedEntry, reason: str, detail: str) -> Rejected:
        self.broken = entry
        if self.state is not FeedState.FROZEN:
            self.state = FeedState.BROKEN
        return Rejected(reason, detail, ends_feed=True)

    def _may_not_sign(self, opening: Opening, entry: CheckedEntry) -> str | None:
        """Say why the Author may not sign this kind here, or ``None`` when he may."""
        kind = entry.kind
        if kind in _OPENING_KINDS:
            return f"{kind} at seq {entry.seq}, allowed at seq 1 only"
        rule = KINDS.get(kind)
        if opening.is_root:
            if self._has_rotated():
                return f"{kind} after the rotation that ended this root feed"
            if entry.seq > ROOT_FEED_ENTRIES_MAX:
                return f"root feed of more than {ROOT_FEED_ENTRIES_MAX} entries"
            if rule is not None and not rule.root:
                return f"{kind} by a root key"
        elif rule is not None and rule.root:
            return f"{kind} by a device key"
        return None

    def _has_rotated(self) -> bool:
        """Say whether the Head is the rotation that ended this root feed."""
        if self.state in {FeedState.LIVE, FeedState.ENDED}:
            return self.state is FeedState.ENDED
        # A Fork or a broken Entry took the place of that state.
        assert self.head is not None
        last = self._held_at(self.head.seq)
        assert last is not None
        return last.kind == _ROTATE and judge_body(last).body_state is BodyState.HERE

    def _open(self, entry: CheckedEntry) -> Opening | Parked | Rejected:
        """Read Entry 1 (rule A11)."""
        if entry.kind not in _OPENING_KINDS:
            return self._ends(entry, "role", f"{entry.kind} at seq 1")
        judged = judge_body(entry)
        match judged.body:
            case Identity1() as body:
                return self._open_root(entry, body)
            case Device1() as body:
                return self._open_device(entry, body)
            case _ if judged.body_state is BodyState.ABSENT:
                return Parked("body")
            case _:
                return self._ends(entry, "role", f"body of {entry.kind}: {judged.body_fault}")

    def _open_root(self, entry: CheckedEntry, body: Identity1) -> Opening | Parked | Rejected:
        identity = IdentityId(body.identity)
        if body.r == 0:
            if bytes(self.author) != bytes(identity) or body.rotated_from is not None:
                return self._ends(entry, "role", "first root key is not the identity")
            return Opening(identity, 0, ROLE_ROOT)
        known = self._standing_of(identity)
        if known is None or self.author not in known.roots:
            return Parked("delegation")
        rotation = next((it for it in known.rotations if it.entry_id == body.rotated_from), None)
        if rotation is None:
            return Parked("delegation")
        if rotation.new_root != self.author or rotation.r + 1 != body.r:
            return self._ends(entry, "role", "the rotation it names is to another root key")
        return Opening(identity, body.r, ROLE_ROOT)

    def _open_device(self, entry: CheckedEntry, body: Device1) -> Opening | Parked | Rejected:
        if not delegation_holds(entry.header, body):
            return self._ends(entry, "role", "the root key did not sign this delegation")
        identity = IdentityId(body.identity)
        known = self._standing_of(identity)
        if known is None or AuthorKey(body.root) not in known.roots:
            return Parked("delegation")
        if known.roots[AuthorKey(body.root)] != body.r:
            return self._ends(entry, "role", f"root key is not number {body.r}")
        return Opening(identity, body.r, body.role)
