"""Golden vectors: JSON files of bytes and what they must mean, run against this program.

* One file is a map that begins with ``about``; its other members are lists of
  vectors.  ``tests/vectors/README.md`` says what stands in each.
* Bytes are lower-case hexadecimal.  A vector with a ``reason`` must be refused
  with exactly that word: of a ``RejectedEntry`` its reason, else the error's code.
* A vector that comes out otherwise is a fault with its place and both values; a
  file that is no such map raises ``VectorsDamaged``.
* The files are made by whoever wants to compare two programs, so nothing in them
  is trusted: every size is bounded and no other exception comes out.

Nothing here reads a file; the bytes are an argument.  What a model's content must be is
``hanse.core.artifacts.content_vectors``'s, by the same rules.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import msgspec

from hanse.core.crypto.boxes import BoxSecret
from hanse.core.crypto.derivation import EpochSeeds, device_box_secret
from hanse.core.crypto.phrase import bip39_seed, parse_phrase, root_secret
from hanse.core.crypto.signing import Signer
from hanse.core.errors import HanseError, RejectedEntry, VerificationFailed
from hanse.core.ledger.codec import decode, decode_any, encode
from hanse.core.ledger.disclosure import Disclosure, Opened, check_disclosure, open_body
from hanse.core.ledger.entry import CheckedEntry, check_entry, parse_entry
from hanse.core.ledger.feed import Accepted, Forked, Known, Parked, Rejected, Verdict
from hanse.core.ledger.forks import check_fork
from hanse.core.ledger.identities import Void, speaks_for
from hanse.core.ledger.kinds import encode_body, parse_body
from hanse.core.ledger.replay import MemoryLedger
from hanse.core.ledger.tree import Peaks, check_consistency, check_inclusion, root_of
from hanse.core.limits import (
    VECTOR_FEED_ENTRIES_MAX,
    VECTOR_IDS_MAX,
    VECTOR_NOTE_CHARACTERS_MAX,
    VECTORS_MAX,
)
from hanse.core.model.ids import AuthorKey, identity_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_START: Final = re.compile(rb'\s*\{\s*"about"\s*:')

Hex = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{2})*\Z")]
Hex32 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Hex16 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
Note = Annotated[str, msgspec.Meta(max_length=VECTOR_NOTE_CHARACTERS_MAX)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
HexList = Annotated[list[Hex], msgspec.Meta(max_length=VECTOR_IDS_MAX)]

_ZEROS: Final = "00" * 32

Check = tuple[str, str | None]  # where, and what differs


class VectorsDamaged(VerificationFailed):
    """A file of vectors cannot be read as one."""

    code = "vectors.damaged"

    def __init__(self, reason: str) -> None:
        """Say what is wrong with it."""
        super().__init__(where="byte 0", reason=reason)


class Vector(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every vector is: ``reason`` is given for what must be refused."""

    note: Note = ""
    reason: str | None = None


_V = TypeVar("_V", bound=Vector)


class _Encoding(Vector, frozen=True, kw_only=True):
    hex: Hex
    value: object = None


class _ValidBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    hex: Hex
    value: object


class _Kind(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: str
    valid: _ValidBody
    invalid: list[_Encoding]


class _Entry(Vector, frozen=True, kw_only=True):
    """One Entry and the verdict on it; the other fields only where the verdict has them."""

    header: Hex
    signature: Hex
    body: Hex | None
    verdict: str
    body_state: str | None = None
    disputed_seq: int | None = None


class _FeedResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is held of one Feed at the end, up to where it counts, and what is void in it."""

    author: Hex32
    state: str
    held: int
    counts: int
    void: list[tuple[int, str]]


class _Feeds(Vector, frozen=True, kw_only=True):
    now_ms: int
    entries: Annotated[list[_Entry], msgspec.Meta(max_length=VECTOR_FEED_ENTRIES_MAX)]
    feeds: list[_FeedResult]


class _Fork(Vector, frozen=True, kw_only=True):
    hex: Hex
    author: Hex32 | None = None
    disputed_seq: int | None = None


class _Tree(Vector, frozen=True, kw_only=True):
    ids: HexList
    peaks: Hex
    root: Hex | None


class _Inclusion(Vector, frozen=True, kw_only=True):
    id: Hex
    seq: int
    size: int
    path: HexList
    root: Hex


class _Consistency(Vector, frozen=True, kw_only=True):
    old_size: int
    old_root: Hex
    new_size: int
    new_root: Hex
    path: HexList


class _Root(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    r: Count
    key: Hex32
    identity_salt: Hex16


class _Epoch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    epoch: Count
    sale_seed: Hex32
    buy_seed: Hex32
    box: Hex32
    backup_key: Hex32
    content_key: Hex32
    sale_key: Hex32
    seller_order_box: Hex32
    buyer_order_box: Hex32
    licence_key: Hex32
    rating_key: Hex32


class _Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    seed: Hex32
    key: Hex32
    box: Hex32


class _Phrase(Vector, frozen=True, kw_only=True):
    """A phrase and all that comes from it; the last four fields are what keys are made for."""

    phrase: Annotated[str, msgspec.Meta(max_length=1000)]
    bip39_seed: Hex = ""
    root_secret: Hex = ""
    identity: str = ""
    roots: list[_Root] = []
    epochs: list[_Epoch] = []
    device: _Device | None = None
    seal_salt: Hex32 = _ZEROS
    order_id: Hex32 = _ZEROS
    order_nonce: Hex16 = _ZEROS[:32]


class _Envelope(Vector, frozen=True, kw_only=True):
    """A sealed Body in its Entry, a reader's secret, and what he finds (null: not for him)."""

    header: Hex
    signature: Hex
    body: Hex
    secret: Hex32
    key: Hex32 | None = None
    inner: Hex | None = None


class _Disclosure(Vector, frozen=True, kw_only=True):
    hex: Hex
    inner: Hex | None = None


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    about: str
    valid: list[_Encoding] = []
    hostile: list[_Encoding] = []
    kinds: list[_Kind] = []
    feeds: list[_Feeds] = []
    forks: list[_Fork] = []
    trees: list[_Tree] = []
    inclusion: list[_Inclusion] = []
    consistency: list[_Consistency] = []
    phrases: list[_Phrase] = []
    envelopes: list[_Envelope] = []
    disclosures: list[_Disclosure] = []


def is_vector_file(start: bytes) -> bool:
    """Say whether a file that begins with these bytes may hold vectors."""
    return _START.match(start) is not None


def check_vectors(raw: bytes) -> tuple[int, list[tuple[str, str]]]:
    """Run every vector in ``raw``; return how many there are, and where which differ and how."""
    return run_checks(_checks(_read(raw)))


def run_checks(checks: Iterable[Check]) -> tuple[int, list[tuple[str, str]]]:
    """Count checks and collect what differs; raise ``VectorsDamaged`` for none or too many."""
    count = 0
    faults: list[tuple[str, str]] = []
    for where, fault in checks:
        count += 1
        if count > VECTORS_MAX:
            raise VectorsDamaged(f"more than {VECTORS_MAX} vectors")
        if fault is not None:
            faults.append((where, fault))
    if count == 0:
        raise VectorsDamaged("the file holds no vectors")
    return count, faults


def _read(raw: bytes) -> _Document:
    try:
        return msgspec.json.decode(raw, type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise VectorsDamaged(str(error)) from error


def _checks(document: _Document) -> Iterator[Check]:
    yield from each_vector("valid", document.valid, _check_encoding)
    yield from each_vector("hostile", document.hostile, _check_encoding)
    for row in document.kinds:
        yield f"kinds {row.kind}: valid", _body_differs(row)
        yield from each_vector(f"kinds {row.kind}: invalid", row.invalid, _body_check(row.kind))
    for number, vector in enumerate(document.feeds, start=1):
        yield from _check_feeds(f"feeds {number}, {vector.note}", vector)
    yield from each_vector("forks", document.forks, _check_fork)
    yield from each_vector("trees", document.trees, _check_tree)
    yield from each_vector("inclusion", document.inclusion, _check_inclusion)
    yield from each_vector("consistency", document.consistency, _check_consistency)
    yield from each_vector("phrases", document.phrases, _check_phrase)
    yield from each_vector("envelopes", document.envelopes, _check_envelope)
    yield from each_vector("disclosures", document.disclosures, _check_disclosure)


def each_vector(
    name: str,
    vectors: Iterable[_V],
    check: Callable[[_V], str | None],
    reason_of: Callable[[HanseError], str] | None = None,
) -> Iterator[Check]:
    """Run ``check`` on each: it raises what the reason names, else says what differs."""
    for number, vector in enumerate(vectors, start=1):
        where = f"{name} {number}, {vector.note}"
        expected = vector.reason
        try:
            differs = check(vector)
        except HanseError as error:
            found = (reason_of or _reason)(error)
            if found == expected:
                yield where, None
            else:
                yield where, f"expected {expected or 'accepted'}, found refused with {found}"
            continue
        yield where, differs if expected is None else f"expected {expected}, found accepted"


def _reason(error: HanseError) -> str:
    return error.reason if isinstance(error, RejectedEntry) else error.code


def first_difference(pairs: Iterable[tuple[str, object, object]]) -> str | None:
    """Compare (name, expected, found) one after the other, and say where they first differ."""
    for name, expected, found in pairs:
        if expected != found:
            return f"{name}: expected {expected}, found {found}"
    return None


def _b(text: str) -> bytes:
    return bytes.fromhex(text)


def _readable(value: object) -> object:
    """Return ``value`` as JSON says it: bytes as ``{"bytes": hex}``."""
    match value:
        case bytes():
            return {"bytes": value.hex()}
        case list() | tuple():
            return [_readable(item) for item in value]
        case dict():
            return {key: _readable(item) for key, item in value.items()}
        case _:
            return value


# --- codec and kinds ------------------------------------------------------------------------


def _check_encoding(vector: _Encoding) -> str | None:
    raw = _b(vector.hex)
    value = decode_any(raw)
    if _readable(value) != vector.value:
        return "the bytes say another value"
    return None if encode(value) == raw else "the value encodes to other bytes"


def _body_check(kind: str) -> Callable[[_Encoding], str | None]:
    def check(vector: _Encoding) -> None:
        parse_body(kind, _b(vector.hex))

    return check


def _body_differs(row: _Kind) -> str | None:
    raw = _b(row.valid.hex)
    try:
        body = parse_body(row.kind, raw)
    except RejectedEntry as error:
        return f"expected accepted, found refused with {error.reason}"
    if _readable(msgspec.to_builtins(body, builtin_types=(bytes,))) != row.valid.value:
        return "the bytes say another value"
    return None if encode_body(body) == raw else "the value encodes to other bytes"


# --- Feeds and Forks ------------------------------------------------------------------------


def _check_feeds(name: str, vector: _Feeds) -> Iterator[Check]:
    """Give the Entries to an empty ledger in this order; each verdict and the end are compared."""
    ledger = MemoryLedger()
    for number, entry in enumerate(vector.entries, start=1):
        found = _verdict(ledger, entry, vector.now_ms)
        expected = (entry.verdict, entry.reason, entry.body_state, entry.disputed_seq)
        differs = first_difference(
            zip(("verdict", "reason", "body state", "disputed seq"), expected, found, strict=True)
        )
        yield f"{name}: entry {number}", differs
    held = {result.author: result for result in _results(ledger)}
    expected_results = {result.author: result for result in vector.feeds}
    for author in sorted(held | expected_results):
        yield (
            f"{name}: feed {author}",
            first_difference([("feed", expected_results.get(author), held.get(author))]),
        )


def _verdict(
    ledger: MemoryLedger, vector: _Entry, now_ms: int
) -> tuple[str, str | None, str | None, int | None]:
    body = None if vector.body is None else _b(vector.body)
    try:
        entry = check_entry(parse_entry(_b(vector.header), _b(vector.signature), body))
    except RejectedEntry as error:
        return "rejected", error.reason, None, None
    return verdict_words(ledger.accept(entry, now_ms))


def verdict_words(verdict: Verdict) -> tuple[str, str | None, str | None, int | None]:
    """Say a verdict as vectors do: its name, reason, state of the Body, and disputed seq."""
    match verdict:
        case Accepted(body_state):
            return "accepted", None, body_state.value, None
        case Known():
            return "known", None, None, None
        case Parked(reason):
            return "parked", reason, None, None
        case Rejected(reason):
            return "rejected", reason, None, None
        case Forked(fork, accepted):
            state = None if accepted is None else accepted.body_state.value
            return "forked", None, state, fork.disputed_seq


def _results(ledger: MemoryLedger) -> Iterator[_FeedResult]:
    counts = ledger.what_counts()
    for author, feed in ledger.feeds.items():
        yield _FeedResult(
            author.hex(),
            feed.verifier.state.value,
            len(feed.entries),
            min(counts.get(author, 0), len(feed.entries)),
            list(_void(ledger, author, counts.get(author, 0))),
        )


def _void(ledger: MemoryLedger, author: AuthorKey, counted: int) -> Iterator[tuple[int, str]]:
    feed = ledger.feeds[author]
    if feed.opening is None:
        return
    known = ledger.standing_of(feed.opening.identity)
    if known is None:
        return
    for entry in feed.entries:
        whose = speaks_for(entry, feed.opening, known, counted)
        if isinstance(whose, Void):
            yield entry.seq, whose.reason


def _check_fork(vector: _Fork) -> str | None:
    fork = check_fork(_b(vector.hex))
    return first_difference(
        [
            ("author", vector.author, fork.author.hex()),
            ("disputed seq", vector.disputed_seq, fork.disputed_seq),
        ]
    )


# --- the tree -------------------------------------------------------------------------------


def _check_tree(vector: _Tree) -> str | None:
    ids = [_b(it) for it in vector.ids]
    peaks = Peaks()
    for entry_id in ids:
        peaks.add(entry_id)
    root, again = peaks.root(), root_of(ids)
    return first_difference(
        [
            ("peaks", vector.peaks, peaks.to_bytes().hex()),
            ("root", vector.root, None if root is None else root.hex()),
            ("root of all ids", vector.root, None if again is None else again.hex()),
        ]
    )


def _check_inclusion(vector: _Inclusion) -> None:
    path = [_b(it) for it in vector.path]
    check_inclusion(_b(vector.id), vector.seq, vector.size, path, _b(vector.root))


def _check_consistency(vector: _Consistency) -> None:
    check_consistency(
        vector.old_size,
        _b(vector.old_root),
        vector.new_size,
        _b(vector.new_root),
        [_b(it) for it in vector.path],
    )


# --- keys and sealed Bodies -----------------------------------------------------------------


def _check_phrase(vector: _Phrase) -> str | None:
    phrase = parse_phrase(vector.phrase)
    secret = root_secret(phrase)
    pairs: list[tuple[str, object, object]] = [
        ("bip39 seed", vector.bip39_seed, bip39_seed(phrase).hex()),
        ("root secret", vector.root_secret, secret.raw.hex()),
        ("identity", vector.identity, identity_text(secret.root_signer(0).public_key)),
    ]
    for root in vector.roots:
        signer = secret.root_signer(root.r)
        found = _Root(root.r, signer.public_key.hex(), secret.identity_salt(root.r).hex())
        pairs.append((f"root key {root.r}", root, found))
    pairs += [
        (f"epoch {epoch.epoch}", epoch, _derived(vector, secret.seeds(epoch.epoch)))
        for epoch in vector.epochs
    ]
    if (device := vector.device) is not None:
        seed = _b(device.seed)
        key, box = Signer.from_seed(seed).public_key, device_box_secret(seed).public_key
        pairs.append(("device", device, _Device(device.seed, key.hex(), box.hex())))
    return first_difference(pairs)


def _derived(vector: _Phrase, seeds: EpochSeeds) -> _Epoch:
    order_id, nonce = _b(vector.order_id), _b(vector.order_nonce)
    return _Epoch(
        epoch=seeds.epoch,
        sale_seed=seeds.sale.hex(),
        buy_seed=seeds.buy.hex(),
        box=seeds.box_secret().public_key.hex(),
        backup_key=seeds.backup_key().hex(),
        content_key=seeds.content_key(_b(vector.seal_salt)).hex(),
        sale_key=seeds.sale_key(order_id).hex(),
        seller_order_box=seeds.seller_order_box(order_id).public_key.hex(),
        buyer_order_box=seeds.buyer_order_box(nonce).public_key.hex(),
        licence_key=seeds.licence_signer(nonce).public_key.hex(),
        rating_key=seeds.rating_signer(nonce).public_key.hex(),
    )


def _check_envelope(vector: _Envelope) -> str | None:
    opened = open_body(_entry(vector), [BoxSecret(_b(vector.secret))])
    return first_difference(
        [
            ("key", vector.key, None if opened is None else opened.key.hex()),
            ("inner", vector.inner, None if opened is None else _inner(opened)),
        ]
    )


def _entry(vector: _Envelope) -> CheckedEntry:
    return check_entry(parse_entry(_b(vector.header), _b(vector.signature), _b(vector.body)))


def _check_disclosure(vector: _Disclosure) -> str | None:
    _, opened = check_disclosure(decode(_b(vector.hex), Disclosure))
    return first_difference([("inner", vector.inner, _inner(opened))])


def _inner(opened: Opened) -> str:
    return encode(opened.inner).hex()
