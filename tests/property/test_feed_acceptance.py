"""Whatever is shown to a ``FeedVerifier``, in whatever order: what is trusted stays one chain.

A root feed and a Device's Feed are shown good, early, repeated, spoiled and forked Entries; the
machine says of each what it must be, and after each step that no refusal has moved anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hanse.core.errors import RejectedEntry
from hanse.core.ledger.entry import CheckedEntry, check_entry, parse_entry
from hanse.core.ledger.feed import (
    Accepted,
    BodyState,
    FeedState,
    Forked,
    Known,
    Parked,
    Rejected,
    Verdict,
)
from hanse.core.ledger.forks import check_fork, fork_of
from hanse.core.ledger.tree import root_of
from hanse.core.limits import CLOCK_AHEAD_MS_MAX
from tests.fakes.author import SPOILS, Author, Writer
from tests.fakes.kept_feed import NOW_MS, KeptFeed, standing_of

if TYPE_CHECKING:
    from hanse.core.model.ids import IdentityId

ROOT, DEVICE = "root", "device"
WHICH = st.sampled_from([ROOT, DEVICE])
GOOD_KINDS = {ROOT: ["haiku/1", "revoke/1"], DEVICE: ["haiku/1", "profile/1", "follow/1"]}
SPOILED_FORM = {"signature", "size", "refs", "version"}
assert set(SPOILS) == SPOILED_FORM | {"seq", "prev", "root", "time", "kind", "body"}


class Acceptance(RuleBasedStateMachine):
    """The model is small: how long each Feed is, what ended it, and what is known."""

    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed: int) -> None:
        self.author = Author(seed)
        known: dict[IdentityId, object] = {}
        device = self.author.device()
        self.feeds = {
            ROOT: KeptFeed(self.author.root.key, known),
            DEVICE: KeptFeed(device.key, known),
        }
        self.first = {ROOT: self.author.root.entries[0], DEVICE: device.entries[0]}
        self.writers = {ROOT: self.author.root, DEVICE: device}
        self.broken: dict[str, CheckedEntry | None] = {ROOT: None, DEVICE: None}
        self.frozen: dict[str, int | None] = {ROOT: None, DEVICE: None}
        self.is_rotated = False

    # --- what the model knows ----------------------------------------------------------------

    def branch(self, which: str, seq: int | None = None) -> Writer:
        """Return a pen that writes on after what is held, or from ``seq`` on."""
        writer = self.writers[which]
        entries = self.feeds[which].entries
        return type(writer)(
            writer.signer, self.author.chance, entries if seq is None else entries[: seq - 1]
        )

    def has_ended(self, which: str) -> bool:
        """Say whether an Entry that ended the Feed stands where the next one would."""
        broken = self.broken[which]
        return broken is not None and broken.seq == len(self.feeds[which].entries) + 1

    def show(self, which: str, entry: CheckedEntry) -> Verdict:
        """Show an Entry, and check what holds of every verdict."""
        feed = self.feeds[which]
        verifier = feed.verifier
        before = (verifier.head, verifier.peaks.to_bytes(), verifier.opening)
        length, frozen_before = len(feed.entries), verifier.frozen_seq
        verdict = feed.take(entry)
        if len(feed.entries) == length:
            assert (verifier.head, verifier.peaks.to_bytes(), verifier.opening) == before
        else:
            assert len(feed.entries) == length + 1 == entry.seq
        match verdict:
            case Forked(fork):
                again = check_fork(fork.proof)
                assert again.proof == fork.proof
                assert again.disputed_seq == fork.disputed_seq
                assert fork_of(fork.first, fork.second) == fork_of(fork.second, fork.first) == fork
                assert entry.entry_id in {fork.first.entry_id, fork.second.entry_id}
                assert verifier.frozen_seq == min(fork.disputed_seq, frozen_before or 2**31)
                assert verifier.state is FeedState.FROZEN
            case Rejected(ends_feed=True):
                self.broken[which] = entry
                assert verifier.frozen_seq == frozen_before
                assert feed.take(entry) == Known()
            case _:
                assert verifier.frozen_seq == frozen_before
        return verdict

    def show_bad(self, which: str, entry: CheckedEntry, reason: str) -> None:
        """Show what ends a Feed, or contradicts what has ended it."""
        had_ended = self.has_ended(which)
        verdict = self.show(which, entry)
        if had_ended:
            assert isinstance(verdict, Forked)
            assert verdict.accepted is None
            assert verdict.fork.disputed_seq == entry.seq
        else:
            assert isinstance(verdict, Rejected)
            assert (verdict.reason, verdict.ends_feed) == (reason, True)

    def show_good(self, which: str, entry: CheckedEntry) -> Accepted:
        had_ended = self.has_ended(which)
        verdict = self.show(which, entry)
        if had_ended:
            assert isinstance(verdict, Forked)
            verdict = verdict.accepted
        assert isinstance(verdict, Accepted)
        return verdict

    def is_open(self, which: str) -> bool:
        return bool(self.feeds[which].entries)

    def goes_on(self, which: str) -> bool:
        return self.is_open(which) and not (which == ROOT and self.is_rotated)

    # --- steps -------------------------------------------------------------------------------

    @rule()
    def delegations_arrive(self) -> None:
        self.feeds[ROOT].known[self.author.identity] = standing_of(self.author)

    @rule(which=WHICH)
    def opening(self, which: str) -> None:
        if self.is_open(which):
            assert self.show(which, self.first[which]) == Known()
        elif which == DEVICE and not self.feeds[DEVICE].known:
            assert self.show(which, self.first[which]) == Parked("delegation")
        else:
            self.show_good(which, self.first[which])

    @rule(which=WHICH, kind=st.sampled_from(["profile/1", "haiku/1", "follow/1"]))
    def nothing_else_opens(self, which: str, kind: str) -> None:
        if not self.is_open(which):
            self.show_bad(which, self.branch(which).append(kind), "role")

    @rule(which=WHICH)
    def bare_opening(self, which: str) -> None:
        if not self.is_open(which):
            assert self.show(which, self.first[which].without_body()) == Parked("body")

    @rule(which=WHICH, data=st.data())
    def good(self, which: str, data: st.DataObject) -> None:
        if not self.goes_on(which):
            return
        kind = data.draw(st.sampled_from(GOOD_KINDS[which]))
        pen = self.branch(which)
        if kind == "revoke/1":
            entry = self.author.revoke(self.writers[DEVICE], 1, root=pen)
        else:
            entry = pen.append(kind)
        assert self.show_good(which, entry).body_state is BodyState.HERE

    @rule(which=WHICH, share=st.floats(0, 0.99))
    def repeated(self, which: str, share: float) -> None:
        entries = self.feeds[which].entries
        if entries:
            assert self.show(which, entries[int(share * len(entries))]) == Known()

    @rule(which=WHICH, gap=st.integers(1, 3))
    def ahead_of_its_turn(self, which: str, gap: int) -> None:
        pen = self.branch(which)
        for _ in range(gap + 1):
            entry = pen.append("haiku/1")
        assert self.show(which, entry) == Parked("gap")

    @rule(which=WHICH)
    def ahead_of_time(self, which: str) -> None:
        time_ms = NOW_MS + CLOCK_AHEAD_MS_MAX + 1
        entry = self.branch(which).append("haiku/1", time_ms=time_ms)
        assert self.show(which, entry) == Parked("future")

    @rule(which=WHICH, what=st.sampled_from(SPOILS))
    def spoiled(self, which: str, what: str) -> None:
        if not self.goes_on(which):
            return
        entry = self.branch(which).spoil(what, "haiku/1")
        length = len(self.feeds[which].entries)
        if what in SPOILED_FORM:
            with pytest.raises(RejectedEntry):
                check_entry(parse_entry(entry.header_bytes, entry.signature, entry.body))
            return
        checked = check_entry(entry)
        match what:
            case "seq":
                assert self.show(which, checked) == Parked("gap")
            case "prev":
                verdict = self.show(which, checked)
                assert isinstance(verdict, Forked)
                assert verdict.fork.disputed_seq == length
            case "root" | "time":
                self.show_bad(which, checked, "broken")
            case "kind":
                self.show_bad(which, checked, "role")
            case "body" if which == ROOT:
                assert self.show(which, checked) == Parked("body")
            case "body":
                assert self.show_good(which, checked).body_state is BodyState.ABSENT

    @rule(which=WHICH, share=st.floats(0, 0.99), extra=st.integers(0, 3))
    def forked(self, which: str, share: float, extra: int) -> None:
        length = len(self.feeds[which].entries)
        if not length:
            return
        seq = 1 + int(share * length)
        pen = self.branch(which, seq)
        for _ in range(min(extra, length + 1 - seq) + 1):
            entry = pen.append("haiku/1")
        verdict = self.show(which, entry)
        assert isinstance(verdict, Forked)
        assert verdict.fork.disputed_seq == max(seq, entry.seq - 1)
        assert verdict.accepted is None

    @precondition(lambda self: self.goes_on(ROOT))
    @rule()
    def rotated(self) -> None:
        entry = self.author.rotate(root=self.branch(ROOT))
        assert self.show_good(ROOT, entry).body_state is BodyState.HERE
        self.is_rotated = True

    @precondition(lambda self: self.is_rotated)
    @rule(kind=st.sampled_from(["haiku/1", "profile/1"]))
    def after_the_rotation(self, kind: str) -> None:
        self.show_bad(ROOT, self.branch(ROOT).append(kind), "role")

    # --- what always holds -------------------------------------------------------------------

    @invariant()
    def what_is_held_is_one_chain(self) -> None:
        for feed in self.feeds.values():
            ids: list[bytes] = []
            time_ms = 0
            for entry in feed.entries:
                header = entry.header
                assert header.seq == len(ids) + 1
                assert header.prev == (ids[-1] if ids else None)
                assert header.root == root_of(ids)
                assert header.time_ms >= time_ms
                ids.append(entry.entry_id)
                time_ms = header.time_ms
            verifier = feed.verifier
            assert verifier.peaks.root() == root_of(ids)
            assert (verifier.head is None) == (verifier.opening is None) == (not ids)
            if verifier.head is not None:
                assert (verifier.head.seq, verifier.head.entry_id) == (len(ids), ids[-1])
                assert verifier.head.time_ms == time_ms

    @invariant()
    def what_was_accepted_is_known_ever_after(self) -> None:
        for feed in self.feeds.values():
            assert all(feed.take(entry, now_ms=0) == Known() for entry in feed.entries)

    @invariant()
    def a_dispute_never_moves_up(self) -> None:
        for which, feed in self.feeds.items():
            before, now = self.frozen[which], feed.verifier.frozen_seq
            assert before is None or (now is not None and now <= before)
            assert (feed.verifier.state is FeedState.FROZEN) == (now is not None)
            self.frozen[which] = now


def test_what_is_trusted_of_a_feed_stays_one_chain() -> None:
    run_state_machine_as_test(
        Acceptance, settings=settings(max_examples=300, stateful_step_count=50, deadline=None)
    )
