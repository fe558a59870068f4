"""The Feeds of a store against a dictionary: whatever is done, in whatever order, they agree."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from hanse.core.ledger.entry import CheckedEntry
from hanse.core.ledger.feed import Accepted, BodyState
from hanse.core.model.ids import EntryId
from hanse.core.store.engines import Store
from tests.fakes.author import START_MS, Author

NOW_MS = START_MS + 10**9
KINDS = ("profile/1", "follow/1", "nobody-knows/1")


class FeedsAgainstDictionary(RuleBasedStateMachine):
    """One transaction is open at any time; it is committed, or undone and forgotten."""

    empty: Path

    @initialize()
    def open(self):
        self.folder = tempfile.TemporaryDirectory()
        shutil.copytree(self.empty, Path(self.folder.name) / "data")
        self.store = Store.open(Path(self.folder.name) / "data")
        self.author = Author("model")
        self.feeds = [self.author.root]
        self.committed, self.model = {}, {}
        self.branches, self.committed_branches = {}, {}
        self._begin()
        self._append(self.author.root, self.author.root.entries, [])

    def _begin(self):
        self.uow = self.store.unit_of_work()
        self.uow.__enter__()

    def _append(self, feed, entries, without):
        """Pass ``entries`` through the rules, some of them ``without`` their Body."""
        verifier = self.uow.feeds.verifier(feed.key, self.uow.projections.standing_of)
        pairs = []
        for entry in entries:
            shown = CheckedEntry(entry.without_body()) if entry in without else entry
            verdict = verifier.accept(shown, NOW_MS)
            assert isinstance(verdict, Accepted)
            pairs.append((shown, verdict))
            self.model[feed.key, entry.seq] = (shown, verdict.body_state)
        self.uow.feeds.save(verifier, NOW_MS)
        numbers = self.uow.feeds.append(pairs)
        assert numbers == sorted(set(numbers))

    @precondition(lambda self: len(self.feeds) < 4)
    @rule()
    def delegate(self):
        device = self.author.device(f"device {len(self.feeds)}")
        self.feeds.append(device)
        self._append(device, device.entries, [])

    @precondition(lambda self: len(self.feeds) > 1)
    @rule(data=st.data(), kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=5))
    def append(self, data, kinds):
        feed = data.draw(st.sampled_from(self.feeds[1:]))
        entries = [feed.append(kind) for kind in kinds]
        without = [entry for entry in entries if data.draw(st.booleans())]
        self._append(feed, entries, without)

    @precondition(lambda self: len(self.feeds) > 1)
    @rule(data=st.data())
    def fork(self, data):
        feed = data.draw(st.sampled_from(self.feeds[1:]))
        other = feed.fork_at(data.draw(st.integers(2, len(feed.entries) + 1)))
        entry = other.append("follow/1")
        self.uow.feeds.add_branch(entry, is_broken=False)
        self.branches[entry.entry_id] = entry

    @precondition(lambda self: any(state is BodyState.ABSENT for _, state in self.model.values()))
    @rule(data=st.data())
    def give_body(self, data):
        missing = [place for place, (_, it) in self.model.items() if it is BodyState.ABSENT]
        key, seq = data.draw(st.sampled_from(sorted(missing)))
        feed = next(feed for feed in self.feeds if feed.key == key)
        entry = feed.entries[seq - 1]
        self.uow.feeds.give_body(entry.entry_id, entry.body, BodyState.HERE)
        self.model[key, seq] = (entry, BodyState.HERE)

    @precondition(lambda self: any(it.kind == "profile/1" for it, _ in self.model.values()))
    @rule(data=st.data())
    def drop_body(self, data):
        held = [place for place, (it, _) in self.model.items() if it.kind == "profile/1"]
        place = data.draw(st.sampled_from(sorted(held)))
        entry, _ = self.model[place]
        self.uow.feeds.drop_body(entry.entry_id, BodyState.ERASED)
        self.model[place] = (CheckedEntry(entry.without_body()), BodyState.ERASED)

    @rule()
    def commit(self):
        self.uow.commit()
        self.uow.__exit__(None, None, None)
        self.committed, self.committed_branches = dict(self.model), dict(self.branches)
        self._begin()

    @precondition(lambda self: self.committed)
    @rule()
    def undo(self):
        self.uow.__exit__(None, None, None)
        self.model, self.branches = dict(self.committed), dict(self.committed_branches)
        for feed in self.feeds:
            del feed.entries[sum(key == feed.key for key, _ in self.model) :]
        self.feeds = [feed for feed in self.feeds if feed.entries]
        self._begin()

    @precondition(lambda self: self.committed)
    @rule()
    def reopen(self):
        self.commit()
        self.uow.__exit__(None, None, None)
        path = self.store.path.parent
        self.store.close()
        self.store = Store.open(path)
        self._begin()

    @invariant()
    def feeds_and_dictionary_agree(self):
        if not hasattr(self, "uow"):
            return
        feeds = self.uow.feeds
        for feed in self.feeds:
            expected = [self.model[feed.key, entry.seq] for entry in feed.entries]
            stored = feeds.entries(feed.key)
            assert [(it.entry, it.body_state) for it in stored] == expected
            assert feeds.ids(feed.key) == feed.ids
            row = feeds.get(feed.key)
            assert (row.head.seq, row.head.entry_id) == (len(feed.ids), feed.ids[-1])
            assert row.body_bytes == sum(len(it.body or b"") for it, _ in expected)
            assert feeds.known(feed.ids) == set(feed.ids)
        stray = EntryId(bytes(32))
        assert feeds.known([*self.branches, stray]) == set(self.branches)
        assert all(feeds.in_branches(entry_id) for entry_id in self.branches)
        assert feeds.totals() == (len(self.feeds), len(self.model))
        numbers = [it.n for it in feeds.arrived_after(0)]
        assert numbers == sorted(set(numbers))

    def teardown(self):
        if hasattr(self, "store"):
            self.uow.commit()
            self.uow.__exit__(None, None, None)
            with self.store.reads() as reads:
                assert list(reads.rehash()) == []
            self.store.close()
            self.folder.cleanup()


def test_feeds_against_a_dictionary(tmp_path):
    Store.open(tmp_path).close()
    FeedsAgainstDictionary.empty = tmp_path
    case = FeedsAgainstDictionary.TestCase
    case.settings = settings(
        max_examples=25,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    case("runTest").runTest()
