"""Writes the made parts of ``docs/protocol.md``: limits, prefixes, kinds, errors, the example.

Run as ``python -m tests.golden.make_protocol``.  A made part stands between two
marks, ``<!-- made: NAME -->`` and ``<!-- end -->``; everything else in the document
is written by hand and left alone.  A test compares.
"""

from __future__ import annotations

import re
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dag_cbor
from msgspec import inspect

from hanse.core import limits
from hanse.core.attest.faults import STEPS
from hanse.core.attest.predicate import StatementPart
from hanse.core.crypto import signing
from hanse.core.ledger.entry import Header, parse_entry
from hanse.core.ledger.feed_file import ClaimedHead, write_feed_file
from hanse.core.ledger.kinds import INNER_KINDS, KINDS, Blob, Body, ReviewPoint, SaleFact, Seal
from hanse.core.model.card import ModelCard
from hanse.core.model.ids import identity_text
from hanse.core.model.licence import Terms
from hanse.core.model.money import Money
from tests.vectors import make_feeds, make_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import msgspec

    from tests.vectors.pen import Written

FILE = Path(__file__).parents[2] / "docs" / "protocol.md"
LINE_HEX = 96  # digits of hexadecimal on one line

LIMITS = {
    "HEADER_SIZE_BYTES_MAX": "Header",
    "BODY_SIZE_BYTES_MAX": "Body",
    "REFS_MAX": "refs of a Header",
    "SEQ_MAX": "seq",
    "NESTING_DEPTH_MAX": "nested lists and maps",
    "PRIVATE_PLAINTEXT_SIZE_BYTES_MAX": "plaintext of a Private body",
    "PRIVATE_PADDING_BYTES": "padding of a Private body, to a multiple of",
    "ENVELOPE_SLOTS_MAX": "slots of a Private body",
    "FORK_PROOF_SIZE_BYTES_MAX": "Fork proof",
    "ROOT_FEED_ENTRIES_MAX": "Entries of a root feed",
    "ROOT_ROTATIONS_MAX": "number of a Root key, r",
    "ROTATE_DEVICES_MAX": "Devices named in one `rotate/1`",
    "CLOCK_AHEAD_MS_MAX": "time ahead of the clock, ms",
    "PARKED_PER_FEED_MAX": "parked Entries of one Feed",
    "PARKED_ENTRIES_MAX": "parked Entries in all",
    "PARKED_SIZE_BYTES_MAX": "parked Entries in all, bytes",
    "PARKED_MS_MAX": "time an Entry stays parked, ms",
    "OPEN_MAP_VALUES_MAX": "values in an open map",
    "OPEN_MAP_KEY_CHARACTERS_MAX": "characters of a key in an open map",
    "OPEN_MAP_TEXT_CHARACTERS_MAX": "characters of a text in an open map",
    "FEED_FILE_FRAME_SIZE_BYTES_MAX": "frame of a `.hanse-feed`",
    "FEEDS_IN_FILE_MAX": "Feeds in a `.hanse-feed`",
    "BACKUP_FRAME_SIZE_BYTES_MAX": "content of a frame of a `.hanse-backup`",
    "KEYSTORE_SIZE_BYTES_MAX": "Keystore file",
}

CONTENT_LIMITS = {
    "ARTIFACT_SIZE_BYTES_MAX": "an Artifact, bytes",
    "ARTIFACT_FILE_SIZE_BYTES_MAX": "one file, bytes",
    "ARTIFACT_FILES_MAX": "files of an Artifact",
    "ARTIFACT_PATH_SIZE_BYTES_MAX": "a path, bytes",
    "MANIFEST_SIZE_BYTES_MAX": "a Manifest, plain or sealed, bytes",
    "CARD_SIZE_BYTES_MAX": "a Model card, bytes",
    "LICENCE_TEXT_CHARACTERS_MAX": "a licence text, characters",
    "RELEASE_TIERS_MAX": "tiers of a Release",
    "PRICE_TERMS_MAX": "named terms of a price",
    "RENEWED_MAX": "Listings in one `renew/1`",
}

CERTIFICATE_LIMITS = {
    "STATEMENT_SIZE_BYTES_MAX": "payload of a Certificate, bytes",
    "EVIDENCE_SIZE_BYTES_MAX": "its envelope, bytes",
    "STATEMENT_SUBJECTS_MAX": "files named one by one",
    "STATEMENT_SUBJECT_NAMES_BYTES_MAX": "all their names, bytes of UTF-8",
    "STATEMENT_TEXT_CHARACTERS_MAX": "characters of a text",
    "SUITE_SIZE_BYTES_MAX": "a suite, bytes",
    "CERT_FILE_SIZE_BYTES_MAX": "a `.hanse-cert`, bytes",
}

# What is compared in each step of verifying a Certificate.
STEP_TEXTS = {
    "json": "size; one canonical form; no key twice, no number with a fraction",
    "payload_type": "`application/vnd.in-toto+json`",
    "signature": "of the Author's Device key over the bytes that came; `keyid` is its SHA-256",
    "delegation": "the Device spoke for its Identity at this seq (section 5)",
    "shape": "`_type`, `predicateType`, every field and no other",
    "index": "`artifact suite suite_sha256 level golden reproduces` of the Body",
    "consistent": "the parts fit each other, see below",
    "suite": "the suite is known; else it is signed, and counts for nothing",
    "subjects": "the files are those of the Release",
    "revoked": "no `cert-revoke/1` of the same Identity names it",
}

TYPES = (Money, Blob, ReviewPoint, Seal, SaleFact)


# --- tables ---------------------------------------------------------------------------------


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def made_limits() -> str:
    return _limits(LIMITS)


def made_content_limits() -> str:
    return _limits(CONTENT_LIMITS)


def made_certificate_limits() -> str:
    return _limits(CERTIFICATE_LIMITS)


def made_steps() -> str:
    assert tuple(STEP_TEXTS) == STEPS
    rows = [(str(n), f"`{step}`", STEP_TEXTS[step]) for n, step in enumerate(STEPS, start=1)]
    return table(("step", "word", "what must be so"), rows)


def made_statement() -> str:
    return "\n".join(
        f"#### `{it.__name__}`\n\n{_doc(it)}\n\n{_fields(it)}" for it in _parts(StatementPart)
    )


def _limits(named: Mapping[str, str]) -> str:
    rows = [(what, f"{getattr(limits, name):,}", f"`{name}`") for name, what in named.items()]
    return table(("what", "at most", "in `core/limits.py`"), rows)


def made_prefixes() -> str:
    kinds = (
        ("signed", signing.SIGNATURE_PREFIXES),
        (
            "hashed, or the label of a derived key",
            [
                it
                for it in signing.ALL_PREFIXES
                if it not in {*signing.SIGNATURE_PREFIXES, *signing.FOREIGN_PREFIXES}
            ],
        ),
        ("signed elsewhere with a Device key", signing.FOREIGN_PREFIXES),
    )
    rows = [(what, ", ".join(f"`{_shown(it)}`" for it in found)) for what, found in kinds]
    return table(("use", "bytes in front"), rows)


def _shown(raw: bytes) -> str:
    return (
        raw.decode("latin-1").replace("\0", "\\0").replace("\x12", "\\x12").replace("\x11", "\\x11")
    )


# --- kinds ----------------------------------------------------------------------------------


def made_kinds() -> str:
    parts = []
    for rule in KINDS.values():
        marks = [
            "by a Root key" if rule.root else "by a Device",
            "sealed" if rule.private else "public",
            "erasable" if rule.erasable else "never erased",
        ]
        parts.append(f"#### `{rule.kind}`\n\n{_doc(rule.body)} *{', '.join(marks)}.*\n")
        parts.append(_fields(rule.body))
    return "\n".join(parts)


def made_inner_kinds() -> str:
    parts = []
    for rule in INNER_KINDS.values():
        under = ", ".join(f"`{kind}`" for kind in sorted(rule.under))
        parts.append(f"#### `{rule.kind}`, inside {under}\n\n{_doc(rule.body)}\n")
        parts.append(_fields(rule.body))
    return "\n".join(parts)


def made_types() -> str:
    parts = []
    for shape in TYPES:
        form = "a list" if _info(shape).array_like else "a map"
        parts.append(f"#### `{shape.__name__}`, {form}\n\n{_doc(shape)}\n")
        parts.append(_fields(shape))
    return "\n".join(parts)


def made_card() -> str:
    return "\n".join(
        f"#### `{it.__name__}`\n\n{_doc(it)}\n\n{_fields(it)}" for it in _parts(ModelCard)
    )


def made_terms() -> str:
    return _fields(Terms)


def _parts(shape: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """Return ``shape`` and every Struct in it, each once, in the order they are met."""
    found: list[type[msgspec.Struct]] = []
    waiting: list[inspect.Type] = [_info(shape)]
    while waiting:
        match waiting.pop(0):
            case inspect.StructType(cls=cls, fields=fields) if cls not in found:
                found.append(cls)
                waiting += [item.type for item in fields]
            case inspect.UnionType(types=types):
                waiting += types
            case inspect.VarTupleType(item_type=inner):
                waiting.append(inner)
            case _:
                pass
    return found


def made_header() -> str:
    return _fields(Header)


def _info(shape: type[msgspec.Struct]) -> inspect.StructType:
    info = inspect.type_info(shape)
    assert isinstance(info, inspect.StructType)
    return info


def _doc(shape: type) -> str:
    first = (shape.__doc__ or "").strip().partition("\n\n")[0]
    return _plain(" ".join(first.split()))


def _plain(text: str) -> str:
    return text.replace("``", "`")


def _fields(shape: type[msgspec.Struct]) -> str:
    long = getattr(shape, "MULTILINE", frozenset())
    sets = getattr(shape, "SETS", frozenset())
    rows = []
    for item in _info(shape).fields:
        words = _type(item.type)
        if item.name in long:
            words += "; newlines allowed"
        if item.name in sets:
            words += "; nothing twice"
        rows.append((f"`{item.encode_name}`", words))
    text = table(("field", "what"), rows) + "\n"
    if (check := _check(shape)) is not None:
        text += f"\n{check}\n"
    return text


def _check(shape: type) -> str | None:
    """Say what else is refused: the first sentence of the check the program runs."""
    if not issubclass(shape, Body) or shape.check is Body.check:
        return None
    sentence = " ".join((shape.check.__doc__ or "").split())
    assert sentence.startswith("Refuse ")
    return "Refused: " + _plain(sentence.removeprefix("Refuse "))


def _type(info: inspect.Type) -> str:
    match info:
        case inspect.UnionType():
            others = [it for it in info.types if not isinstance(it, inspect.NoneType)]
            nothing = " or null" if len(others) < len(info.types) else ""
            return " or ".join(map(_type, others)) + nothing
        case inspect.BytesType():
            return (_count(info.min_length, info.max_length) + " bytes").strip()
        case inspect.StrType():
            size = _count(info.min_length, info.max_length)
            pattern = (info.pattern or "").replace("\\Z", "$").replace("|", "\\|")
            words = ["text"]
            words += [f"of {size} characters"] if size else []
            words += [f"`{pattern}`"] if pattern else []
            return ", ".join([" ".join(words[:2]), *words[2:]]) if size else ", ".join(words)
        case inspect.IntType():
            return "int" + _range(info.ge, info.le)
        case inspect.BoolType():
            return "bool"
        case inspect.LiteralType():
            return " or ".join(f"`{it}`" for it in info.values)
        case inspect.VarTupleType() | inspect.ListType():
            size = _count(info.min_length, info.max_length)
            inner = _type(info.item_type)
            inner = f"({inner})" if inner.endswith(" or null") else inner
            return f"list of {size}: {inner}".replace("of :", "of:")
        case inspect.TupleType():
            return "[" + "; ".join(map(_type, info.item_types)) + "]"
        case inspect.DictType(value_type=inspect.AnyType() | inspect.CustomType()):
            return "open map"
        case inspect.DictType():
            size = _count(info.min_length, info.max_length)
            words = f"map of {size}" if size else "map"
            return f"{words}, from {_type(info.key_type)} to {_type(info.value_type)}"
        case inspect.StructType():
            return f"`{info.cls.__name__}`"
    raise AssertionError(info)


def _count(least: int | None, most: int | None) -> str:
    if most is None:
        return ""
    return f"{most:,}" if least == most else f"{least or 0:,} to {most:,}"


def _range(least: int | None, most: int | None) -> str:
    if least is None or most is None:
        return ""
    return f", {_number(least)} to {_number(most)}"


def _number(number: int) -> str:
    for power in (31, 53, 62, 63):
        for text, value in ((f"2^{power}", 2**power), (f"2^{power} - 1", 2**power - 1)):
            if abs(number) == value:
                return text if number > 0 else f"-{text}"
    return f"{number:,}"


# --- the example ----------------------------------------------------------------------------


def made_example() -> str:
    """Write out the first vector of ``feeds.json``, byte for byte."""
    secret = make_keys.root_secret(make_keys.bip39_seed(make_keys.ENGLISH))
    root, device = make_feeds.example()
    parts = [
        block(
            ("phrase", f"{make_keys.ENGLISH}"),
            ("BIP39 seed", make_keys.bip39_seed(make_keys.ENGLISH).hex()),
            ("R", secret.hex()),
            ("Root key 0", root.key.hex()),
            ("Identity", identity_text(root.key)),
            ("Box key 0", make_keys.epoch(secret, 0)["box"]),
            ("Device seed", make_keys.DEVICE_SEED.hex()),
            ("Device key", device.key.hex()),
        )
    ]
    opening = dag_cbor.decode(device.entries[0].body or b"")
    assert isinstance(opening, dict)
    message = [root.key, 0, root.key, device.key, "full", _header(device.entries[0])[5]]
    for name, entry in (
        ("Entry 1 of the root feed", root.entries[0]),
        ("Entry 1 of the Device's Feed", device.entries[0]),
        ("Entry 2 of the Device's Feed", device.entries[1]),
    ):
        parts.append(f"**{name}.**\n\n{_entry(entry)}")
        if entry is device.entries[0]:
            parts.append(
                "The Delegation in it signs `hanse/device/v1\\0` and:\n\n"
                + block(("message", dag_cbor.encode(message).hex()))
            )
    parts.append(_file([*root.entries, *device.entries], root.entries[-1:] + device.entries[-1:]))
    return "\n".join(parts)


def block(*rows: tuple[str, str]) -> str:
    width = max(len(name) for name, _ in rows)
    lines = []
    for name, value in rows:
        cut = [value[at : at + LINE_HEX] for at in range(0, len(value), LINE_HEX)]
        lines.append(f"{name:<{width}}  {cut[0]}")
        lines += [" " * (width + 2) + more for more in cut[1:]]
    return "```text\n" + "\n".join(line.rstrip() for line in lines) + "\n```\n"


def _header(entry: Written) -> list[Any]:
    header = dag_cbor.decode(entry.header)
    assert isinstance(header, list)
    return header


def _entry(entry: Written) -> str:
    body = entry.body
    assert body is not None
    fields = dag_cbor.decode(body)
    assert isinstance(fields, dict)
    shown = [(name, _value(value)) for name, value in fields.items()]
    names = [item.name for item in _info(Header).fields]
    return "\n".join(
        (
            block(*((f"body.{name}", value) for name, value in shown), ("Body", body.hex())),
            block(
                *((name, _value(value)) for name, value in zip(names, _header(entry), strict=True)),
                ("Header", entry.header.hex()),
                ("signature", entry.signature.hex()),
                ("id", entry.id.hex()),
            ),
        )
    )


def _value(value: object) -> str:
    match value:
        case bytes():
            return f"h'{value.hex()}'"
        case str():
            return f'"{value}"'
        case None:
            return "null"
        case list():
            return "[" + ", ".join(map(_value, value)) + "]"
        case _:
            return str(value)


def _file(entries: Sequence[Written], heads: Sequence[Written]) -> str:
    stream = BytesIO()
    claimed = [ClaimedHead(_header(it)[1], it.seq, it.id) for it in heads]
    signed = [parse_entry(it.header, it.signature, it.body) for it in entries]
    write_feed_file(stream, claimed, signed)
    raw = stream.getvalue()
    first = 14 + int.from_bytes(raw[10:14], "big")
    last = len(raw) - 4 - len(dag_cbor.encode(["end", len(entries), bytes(32)]))
    return "**The three as a `.hanse-feed`.**\n\n" + block(
        ("size", f"{len(raw):,} bytes"),
        ("SHA-256", sha256(raw).hexdigest()),
        ("magic", raw[:10].hex()),
        ("frame 1", raw[10:first].hex()),
        ("last frame", raw[last:].hex()),
    )


# --- the document ---------------------------------------------------------------------------

MADE: dict[str, Callable[[], str]] = {
    "limits": made_limits,
    "prefixes": made_prefixes,
    "header": made_header,
    "content limits": made_content_limits,
    "card": made_card,
    "terms": made_terms,
    "certificate limits": made_certificate_limits,
    "steps": made_steps,
    "statement": made_statement,
    "types": made_types,
    "kinds": made_kinds,
    "inner kinds": made_inner_kinds,
    "example": made_example,
}
_PART = re.compile(r"(<!-- made: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def document(text: str) -> str:
    """Return ``text`` with every made part made anew."""
    names = [match[2] for match in _PART.finditer(text)]
    assert sorted(names) == sorted(MADE), names
    return _PART.sub(lambda it: f"{it[1]}\n{MADE[it[2]]().rstrip()}\n\n{it[3]}", text)


if __name__ == "__main__":
    FILE.write_text(document(FILE.read_text(encoding="utf-8")), encoding="utf-8")
