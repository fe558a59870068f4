"""DSSE envelopes: a payload, its type, and the one signature of a Device key over both.

* ``{"payload": base64, "payloadType": ..., "signatures": [{"keyid": ..., "sig": base64}]}``;
  what the signature covers is ``hanse.core.crypto.dsse``'s.
* The key comes from outside: ``keyid`` is SHA-256 of it, a hint that must be right and that
  nothing is looked up by.
* Verified are the bytes that came; nothing is parsed of the payload before its signature holds.
* The envelope itself may be written in any way JSON allows, so other tools' pass; but no key may
  stand in it twice, and nothing else may stand there.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from hanse.core.attest.faults import BadStatement, Step, shape_fault, strict_json
from hanse.core.crypto.dsse import sign_dsse, verify_dsse
from hanse.core.limits import (
    EVIDENCE_SIZE_BYTES_MAX,
    SIGNATURE_SIZE_BYTES,
    STATEMENT_SIZE_BYTES_MAX,
)

if TYPE_CHECKING:
    from hanse.core.crypto.signing import Signer
    from hanse.core.model.ids import AuthorKey

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"

_SHORT: Final = 200  # characters of any other field


class SignaturePart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One signature and a hint whose."""

    keyid: Annotated[str, msgspec.Meta(max_length=_SHORT)]
    sig: Annotated[str, msgspec.Meta(max_length=_SHORT)]


class EnvelopePart(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"
):
    """The JSON of an envelope."""

    payload: Annotated[str, msgspec.Meta(max_length=EVIDENCE_SIZE_BYTES_MAX)]
    payload_type: Annotated[str, msgspec.Meta(max_length=_SHORT)]
    signatures: Annotated[tuple[SignaturePart, ...], msgspec.Meta(min_length=1, max_length=1)]


_DECODER: Final = msgspec.json.Decoder(EnvelopePart)
_ENCODER: Final = msgspec.json.Encoder(order="sorted")


@dataclass(frozen=True, slots=True)
class Enveloped:
    """What an envelope holds; nothing of it is verified yet."""

    payload: bytes
    payload_type: str
    keyid: str
    signature: bytes


def key_id(device: bytes) -> str:
    """Return the hint by which an envelope names a Device key."""
    return sha256(device).hexdigest()


def sign_envelope(payload: bytes, signer: Signer) -> bytes:
    """Return the JSON bytes of ``payload`` signed by ``signer``, or raise ``BadStatement``."""
    _check_size("payload", payload, STATEMENT_SIZE_BYTES_MAX)
    part = EnvelopePart(
        payload=base64.b64encode(payload).decode(),
        payload_type=PAYLOAD_TYPE,
        signatures=(
            SignaturePart(
                keyid=key_id(signer.public_key),
                sig=base64.b64encode(sign_dsse(signer, PAYLOAD_TYPE, payload)).decode(),
            ),
        ),
    )
    return _ENCODER.encode(part)


def read_envelope(raw: bytes) -> Enveloped:
    """Take an envelope apart without believing it; raise ``BadStatement`` (step 1)."""
    _check_size("envelope", raw, EVIDENCE_SIZE_BYTES_MAX)
    try:
        part = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise shape_fault("json", strict_json(raw, "envelope"), error) from error
    if _ENCODER.encode(part) != raw:  # ours; of others' only what could be read in two ways is no
        strict_json(raw, "envelope")
    signature = part.signatures[0]
    payload = _unbase64("json", "$.payload", part.payload)
    _check_size("payload", payload, STATEMENT_SIZE_BYTES_MAX)
    return Enveloped(
        payload=payload,
        payload_type=part.payload_type,
        keyid=signature.keyid,
        signature=_unbase64("signature", "$.signatures[0].sig", signature.sig),
    )


def open_envelope(raw: bytes, device: AuthorKey | bytes) -> bytes:
    """Return the payload that ``device`` signed, or raise ``BadStatement`` (steps 1 to 3)."""
    found = read_envelope(raw)
    check_signed(found, device)
    return found.payload


def check_signed(found: Enveloped, device: AuthorKey | bytes) -> None:
    """Raise ``BadStatement`` unless the type is ours (step 2) and ``device`` signed (step 3)."""
    if found.payload_type != PAYLOAD_TYPE:
        raise BadStatement("payload_type", "$.payloadType", PAYLOAD_TYPE, found.payload_type)
    if len(found.signature) != SIGNATURE_SIZE_BYTES:
        raise BadStatement(
            "signature",
            "$.signatures[0].sig",
            f"{SIGNATURE_SIZE_BYTES} bytes",
            len(found.signature),
        )
    if not verify_dsse(device, found.payload_type, found.payload, found.signature):
        raise BadStatement("signature", "payload", "signed_by_device", "other_bytes_or_key")
    if found.keyid != key_id(device):
        raise BadStatement("signature", "$.signatures[0].keyid", key_id(device), found.keyid)


def _check_size(what: str, raw: bytes, most: int) -> None:
    if len(raw) > most:
        raise BadStatement("json", what, f"<= {most} bytes", len(raw))


def _unbase64(step: Step, what: str, text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadStatement(step, what, "base64", text) from error
    # Unused bits at the end would let one payload have several texts.
    if base64.b64encode(raw).decode() != text:
        raise BadStatement(step, what, "base64", text)
    return raw
