"""What a buyer commits to before a Trial is granted, and the order in which he must ask.

* Leaf = SHA-256(00 + SHA-256(salt_x + x) + SHA-256(salt_y + y)) and the tree over the leaves is
  the one of RFC 6962 (``hanse.core.ledger.tree``).  The seller sees the root before he grants.
* **Two salts** of exactly 16 bytes.  The seller gets x and its salt; a label hash under a salt he
  knows would be guessed from ten classes and the answer made to fit.  The length is fixed, or
  ``S`` + "17" could be opened as ``S1`` + "7".
* Questions follow a permutation of the leaves that comes from root and the seller's nonce: the
  buyer fixed the root first, the seller the nonce after it, so neither picks.
* No input stands twice: it would be answered once.

What is asked, and how an input is written, is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from hanse.core.errors import WrongUse
from hanse.core.ledger.tree import BadProof, check_inclusion, inclusion, root_of
from hanse.core.limits import (
    TRIAL_COMMITTED_MAX,
    TRIAL_INPUT_SIZE_BYTES_MAX,
    TRIAL_LABEL_SIZE_BYTES_MAX,
)
from hanse.core.model.trial import SALT_SIZE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hanse.core.clock import Chance
    from hanse.core.model.trial import Query, TrialCommit

_DRAW_BYTES: Final = 8
_DRAWS: Final = 2**64


class CommitRefused(WrongUse):
    """Inputs cannot be committed to; ``reason`` is a stable word, ``row`` counts from 1."""

    code = "trial.commit_refused"
    text = "row {row} cannot be committed to, {reason}: {found}"
    fields = ("reason", "row", "found")

    def __init__(self, reason: str, row: int, found: int) -> None:
        """Name the rule broken, where, and the number that breaks it."""
        super().__init__(reason=reason, row=row, found=found)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class CommittedInput:
    """One input and its true answer, each with its own salt; all of it the buyer's secret."""

    x: bytes = field(repr=False)
    salt_x: bytes = field(repr=False)
    y: bytes = field(repr=False)
    salt_y: bytes = field(repr=False)

    @property
    def label_hash(self) -> bytes:
        """Return what the seller sees of the true answer."""
        return salted_hash(self.salt_y, self.y)

    @property
    def leaf(self) -> bytes:
        """Return what the tree is built over."""
        return leaf_of(salted_hash(self.salt_x, self.x), self.label_hash)


@dataclass(frozen=True, slots=True)
class Commitment:
    """All inputs of one Trial in the order they were given, and the root over them."""

    inputs: tuple[CommittedInput, ...]
    root: bytes

    def path(self, index: int) -> tuple[bytes, ...]:
        """Return the hashes that lead from leaf ``index`` (from 0) to the root."""
        return tuple(inclusion([one.leaf for one in self.inputs], index + 1))


def salted_hash(salt: bytes, value: bytes) -> bytes:
    """Hash ``value`` behind a salt of 16 bytes."""
    assert len(salt) == SALT_SIZE_BYTES
    return sha256(salt + value).digest()


def leaf_of(input_hash: bytes, label_hash: bytes) -> bytes:
    """Return the 64 bytes of one leaf; the tree puts its zero byte in front and hashes them."""
    return input_hash + label_hash


def commit(rows: Iterable[tuple[bytes, bytes]], chance: Chance) -> Commitment:
    """Commit to inputs with their true answers; raise ``CommitRefused`` for the first unfit one."""
    inputs: list[CommittedInput] = []
    seen: dict[bytes, int] = {}
    for number, (x, y) in enumerate(rows, start=1):
        if number > TRIAL_COMMITTED_MAX:
            raise CommitRefused("too_many", number, TRIAL_COMMITTED_MAX)
        if not 1 <= len(x) <= TRIAL_INPUT_SIZE_BYTES_MAX:
            raise CommitRefused("input_size", number, len(x))
        if len(y) > TRIAL_LABEL_SIZE_BYTES_MAX:
            raise CommitRefused("label_size", number, len(y))
        if (before := seen.setdefault(sha256(x).digest(), number)) != number:
            raise CommitRefused("twice", number, before)
        salts = (chance.bytes(SALT_SIZE_BYTES), chance.bytes(SALT_SIZE_BYTES))
        inputs.append(CommittedInput(x, salts[0], y, salts[1]))
    root = root_of([one.leaf for one in inputs])
    if root is None:
        raise CommitRefused("none", 0, 0)
    return Commitment(tuple(inputs), root)


def asking_order(root: bytes, seller_nonce: bytes, n: int, count: int) -> tuple[int, ...]:
    """Return the first ``count`` leaves (from 0) of the permutation of ``n`` both sides follow.

    Fisher and Yates from the front; draws are 8 bytes of SHA-256(seed + u64 counter) with the
    seed SHA-256(root + nonce), those beyond the last whole multiple left out.
    """
    assert 0 <= count <= n <= TRIAL_COMMITTED_MAX
    draws = _Draws(sha256(root + seller_nonce).digest())
    places = list(range(n))
    for here in range(count):
        there = here + draws.below(n - here)
        places[here], places[there] = places[there], places[here]
    return tuple(places[:count])


class _Draws:
    """Whole numbers from a seed, each equally likely."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._drawn = 0

    def below(self, bound: int) -> int:
        """Draw a number from 0 to ``bound`` - 1."""
        whole = _DRAWS - _DRAWS % bound
        while True:
            block = sha256(self._seed + self._drawn.to_bytes(8, "big")).digest()
            self._drawn += 1
            drawn = int.from_bytes(block[:_DRAW_BYTES], "big")
            if drawn < whole:
                return drawn % bound


def is_committed(query: Query, to: TrialCommit) -> bool:
    """Say whether the query's input and label hash are the leaf it names, below the root."""
    leaf = leaf_of(salted_hash(query.salt_x, query.x), query.label_hash)
    try:
        check_inclusion(leaf, query.index + 1, to.n, query.path, to.root)
    except BadProof:
        return False
    return True
