"""Damaged encodings by the number: each is refused, or is canonical by an independent decoder.

Every number gives one mutant, always the same, so that a failure can be named.
"""

from __future__ import annotations

import random
from collections import Counter
from hashlib import sha256

import dag_cbor

from hanse.core.errors import BadShape, NotCanonical
from hanse.core.ledger.codec import decode_any, encode
from hanse.core.ledger.kinds import KINDS, encode_body, parse_body
from tests.vectors.make_codec import HOSTILE
from tests.vectors.make_kinds import VALID

_SIZE_MAX = 2000  # longer Bodies are mostly one run of bytes, in which damage shows nothing

SEEDS = [
    (kind, raw)
    for kind, body in zip(KINDS, VALID, strict=True)
    if len(raw := encode_body(body)) <= _SIZE_MAX
]
_SPLICES = [bytes.fromhex(raw) for _, _, raw in HOSTILE if raw] + [
    bytes.fromhex(raw)
    for raw in ("f6", "80", "a0", "40", "60", "1818", "fb3ff8000000000000", "d82a4700015512026162")
]


def header_seeds() -> list[bytes]:
    """Return encodings of the shape of a Header, some with keys that begin like a CID."""
    rows = []
    for number in range(8):
        key = sha256(bytes([number])).digest()
        like_a_link = b"\x01\x55\x12\x1c" + key[:28]
        author = like_a_link if number % 2 else key
        rows.append(
            encode([1, author, 7, key, like_a_link, 1_795_000_000_000, "profile/1", key, 900, []])
        )
    return rows


def mutate(raw: bytes, number: int) -> bytes:
    """Return the mutant of ``raw`` with this number."""
    chance = random.Random(number)
    data = bytearray(raw)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(8):
            case 0 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 1 if at < len(data):
                data[at] = chance.randrange(256)
            case 2:
                del data[at : at + chance.choice((1, 1, 2, 8))]
            case 3:
                data[at:at] = chance.randbytes(chance.choice((1, 1, 2, 9)))
            case 4:
                data[at:at] = chance.choice(_SPLICES)
            case 5 if at < len(data):
                # A head in a longer form than it needs.
                head = data[at]
                data[at : at + 1] = bytes((head & 0xE0 | 24, head & 0x1F))
            case 6:
                size = chance.randrange(1, 40)
                data[at:at] = data[at : at + size]
            case _:
                other = chance.randrange(len(data) + 1)
                low, high = min(at, other), max(at, other)
                data[low:high] = chance.choice(_SPLICES)
        if not data:
            break
    return bytes(data)


def oracle_value(raw: bytes) -> list[object] | None:
    """Return what the strict decoder reads, in a list; ``None`` where it, too, refuses.

    A link is no value of ours, and what it encodes otherwise was not canonical.
    """
    try:
        value = dag_cbor.decode(raw)
        again = dag_cbor.encode(value)
    except Exception:  # noqa: BLE001 - the oracle has many ways to refuse
        return None
    return None if again != raw or _has_link(value) else [value]


def _has_link(value: object) -> bool:
    match value:
        case None | bool() | int() | float() | str() | bytes():
            return False
        case list():
            return any(map(_has_link, value))
        case dict():
            return any(map(_has_link, value.values()))
        case _:
            return True


def run(start: int, count: int) -> Counter[str]:
    """Try ``count`` mutants from number ``start`` on; count the outcomes.

    An exception that is none of ours, or bytes accepted that the oracle refuses,
    end the run with an ``AssertionError`` that names the mutant.
    """
    seeds = SEEDS + [("", raw) for raw in header_seeds()]
    outcomes: Counter[str] = Counter()
    for number in range(start, start + count):
        kind, raw = seeds[number % len(seeds)]
        mutant = mutate(raw, number)
        if mutant == raw:
            outcomes["unchanged"] += 1
            continue
        try:
            value = decode_any(mutant)
        except (NotCanonical, BadShape) as error:
            outcomes[error.reason] += 1
            value = None
        except Exception as error:
            raise AssertionError(f"mutant {number} of {kind}: {mutant.hex()}") from error
        else:
            outcomes["canonical"] += 1
            assert oracle_value(mutant) == [value], f"mutant {number} of {kind}: {mutant.hex()}"
        if kind:
            outcomes[_parsed(kind, mutant, number)] += 1
    return outcomes


def _parsed(kind: str, mutant: bytes, number: int) -> str:
    try:
        body = parse_body(kind, mutant)
    except (NotCanonical, BadShape):
        return "void body"
    except Exception as error:
        raise AssertionError(f"mutant {number} of {kind}: {mutant.hex()}") from error
    assert encode(body) == mutant, f"mutant {number} of {kind}: {mutant.hex()}"
    return "valid body"
