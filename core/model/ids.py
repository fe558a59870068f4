"""Names of things, each its own type, so that one cannot stand where another belongs.

All are 32 bytes.  As text: ``hanse:id:`` + base32 in lower case without padding
for an Identity, plain hexadecimal for everything else.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final, NewType

from hanse.core.errors import WrongUse

AuthorKey = NewType("AuthorKey", bytes)  # public key that signs a Feed: a Device's or a Root's
IdentityId = NewType("IdentityId", bytes)  # public key of the first Root key
EntryId = NewType("EntryId", bytes)

ID_SIZE_BYTES: Final = 32
_IDENTITY_PREFIX: Final = "hanse:id:"


class BadId(WrongUse):
    """A text is not the name of anything."""

    code = "id.bad"
    text = "{found} is not {expected}"
    fields = ("found", "expected")


def identity_text(identity: bytes) -> str:
    """Write an Identity id as ``hanse:id:...``."""
    return _IDENTITY_PREFIX + base64.b32encode(identity).decode().rstrip("=").lower()


def parse_identity(text: str) -> IdentityId:
    """Read ``hanse:id:...``, or raise ``BadId``."""
    expected = "an identity (hanse:id:...)"
    if not text.startswith(_IDENTITY_PREFIX):
        raise BadId(found=text, expected=expected)
    try:
        raw = base64.b32decode(text.removeprefix(_IDENTITY_PREFIX).upper() + "====")
    except (binascii.Error, ValueError) as error:
        raise BadId(found=text, expected=expected) from error
    if len(raw) != ID_SIZE_BYTES or identity_text(raw) != text:
        raise BadId(found=text, expected=expected)
    return IdentityId(raw)


def parse_id(text: str) -> bytes:
    """Read 64 hexadecimal digits, or raise ``BadId``."""
    try:
        raw = bytes.fromhex(text)
    except ValueError as error:
        raise BadId(found=text, expected="an id of 64 hexadecimal digits") from error
    if len(raw) != ID_SIZE_BYTES:
        raise BadId(found=text, expected="an id of 64 hexadecimal digits")
    return raw
