"""Every deliberate error of Hanse, grouped by whose fault it is.

* ``UserError``: a person must change something.  ``WrongUse`` when the request
  makes no sense as given, ``Refused`` when a rule says no.
* ``RejectedEntry``, ``ProtocolViolation``: a peer or a file did wrong.
* ``VerificationFailed``: the answer to "is this true?" is no.
* ``EnvironmentFault``: disk, network, lock or rail; retry or tell.

Everything else is our bug and travels untouched.  An error carries a stable
``code`` and named values; ``hanse.core.sentences`` turns the two into one
sentence in the person's language.  ``str(error)`` is the developer's text: it
names the subject and both values and never holds a secret.
"""

from __future__ import annotations

import errno
from typing import ClassVar, Final

EXIT_DONE: Final = 0
EXIT_NO: Final = 1
EXIT_WRONG_USE: Final = 2
EXIT_REFUSED: Final = 3
EXIT_ENVIRONMENT: Final = 4


class HanseError(Exception):
    """The root of all deliberate errors.

    A subclass sets ``code`` (stable, dotted) and ``text`` (a format string over
    its values).  The values given must be exactly the ones ``text`` names or
    ``fields`` lists, so that a sentence can never miss one.
    """

    code: ClassVar[str] = "hanse"
    text: ClassVar[str] = "deliberate error"
    fields: ClassVar[tuple[str, ...]] = ()
    exit_code: ClassVar[int] = EXIT_REFUSED

    def __init__(self, **values: object) -> None:
        """Keep the values; refuse, as our own bug, any that do not fit ``fields``."""
        assert set(values) == set(self.fields), (
            f"{type(self).__name__} takes {self.fields}, not {tuple(values)}"
        )
        self.values: dict[str, object] = dict(values)
        super().__init__(self.text.format(**values))


class UserError(HanseError):
    """A person must change something."""


class WrongUse(UserError):
    """The request makes no sense as given."""

    exit_code = EXIT_WRONG_USE


class Refused(UserError):
    """A rule says no."""

    exit_code = EXIT_REFUSED


class VerificationFailed(HanseError):
    """What was to be verified is not true; ``where`` and ``reason`` name the first fault."""

    code = "verification.failed"
    text = "verification failed at {where}: {reason}"
    fields: ClassVar[tuple[str, ...]] = ("where", "reason")
    exit_code = EXIT_NO


class RejectedEntry(HanseError):
    """An Entry breaks a numbered rule of acceptance; ``reason`` is a stable word."""

    code = "entry.rejected"
    text = "entry rejected, {reason}: {detail}"
    fields = ("reason", "detail")

    def __init__(self, reason: str, detail: str) -> None:
        """Name the rule broken and what was found."""
        super().__init__(reason=reason, detail=detail)
        self.reason = reason
        self.detail = detail


class ProtocolViolation(HanseError):
    """A peer sent what the protocol does not allow."""

    code = "protocol.violation"
    text = "protocol violation, {violation}: {detail}"
    fields = ("violation", "detail")

    def __init__(self, violation: str, detail: str) -> None:
        """Name the rule broken and what was found."""
        super().__init__(violation=violation, detail=detail)
        self.violation = violation


class EnvironmentFault(HanseError):
    """The machine failed us: disk, network, lock or rail."""

    exit_code = EXIT_ENVIRONMENT


class NotCanonical(RejectedEntry):
    """Bytes decode, but are not the one canonical encoding of their value."""

    code = "codec.not_canonical"

    def __init__(self, detail: str) -> None:
        """Say what was found."""
        super().__init__("not_canonical", detail)


class BadShape(RejectedEntry):
    """A canonical value does not have the shape asked for."""

    code = "codec.bad_shape"

    def __init__(self, detail: str) -> None:
        """Say what was found."""
        super().__init__("bad_shape", detail)


# --- the Keystore and the Recovery phrase --------------------------------------------------


class WrongPassphrase(Refused):
    """The Keystore does not open under this passphrase; nothing on disk changed."""

    code = "keystore.wrong_passphrase"
    text = "the passphrase does not open the keystore"


class PassphraseTooShort(WrongUse):
    """A new passphrase has too few characters."""

    code = "keystore.passphrase_too_short"
    text = "a passphrase has at least {least} characters, not {found}"
    fields = ("least", "found")


class KeystoreDamaged(EnvironmentFault):
    """The Keystore file is not what Hanse wrote; ``detail`` says which part."""

    code = "keystore.damaged"
    text = "keystore {path} is damaged: {detail}"
    fields = ("path", "detail")


class KeystoreTooNew(Refused):
    """The Keystore was written by a later Hanse."""

    code = "keystore.too_new"
    text = "keystore {path} has format {found}, this program knows {known}"
    fields = ("path", "found", "known")


class KdfOutOfRange(Refused):
    """The Keystore asks for more or less work than any Hanse would write."""

    code = "keystore.kdf_out_of_range"
    text = "keystore {path} asks for {name} = {found}, allowed {least} to {most}"
    fields = ("path", "name", "found", "least", "most")


class NoAccount(WrongUse):
    """No Account in this data folder."""

    code = "account.none"
    text = "no account in {path}"
    fields = ("path",)


class AccountExists(Refused):
    """The data folder already holds an Account."""

    code = "account.exists"
    text = "{path} already holds account {name}"
    fields = ("path", "name")


class AccountLocked(Refused):
    """The act needs an unlocked Account."""

    code = "account.locked"
    text = "the account is locked"


class BadPhraseLength(WrongUse):
    """A Recovery phrase has 24 words."""

    code = "phrase.length"
    text = "a recovery phrase has {expected} words, not {found}"
    fields = ("expected", "found")


class BadPhraseWord(WrongUse):
    """One word is not in the word list.

    ``nearest`` is the closest list word or an empty text.
    """

    code = "phrase.word"
    text = "word {number} of the phrase is not in the word list: {word} (nearest: {nearest})"
    fields = ("number", "word", "nearest")


class BadPhraseChecksum(WrongUse):
    """All words are known, but they do not belong together."""

    code = "phrase.checksum"
    text = "the checksum of the recovery phrase does not fit; a word is wrong or out of place"


class WrongPhrase(Refused):
    """The phrase is well-formed but not the one of this Identity."""

    code = "phrase.other_identity"
    text = "the phrase gives identity {found}, not {expected}"
    fields = ("found", "expected")


class PhraseNotConfirmed(Refused):
    """The words asked back were not those of the phrase."""

    code = "phrase.not_confirmed"
    text = "word {number} of the phrase was not repeated correctly"
    fields = ("number",)


# --- guards of the data folder --------------------------------------------------------------


class StoreLocked(EnvironmentFault):
    """Another process holds the data folder."""

    code = "store.locked"
    text = "data folder {path} is held by {holder}"
    fields = ("path", "holder")


class CopiedDisk(Refused):
    """The data folder was copied, or is older than what was sent; nothing is signed here."""

    code = "store.copied"
    text = "data folder {path} signs nothing: {reason}"
    fields = ("path", "reason")


class SchemaTooNew(Refused):
    """The database was written by a later Hanse."""

    code = "store.schema_too_new"
    text = "database {path} has schema {found}, this program knows up to {known}"
    fields = ("path", "found", "known")


class StoreDamaged(EnvironmentFault):
    """The database cannot be read as a Hanse database."""

    code = "store.damaged"
    text = "database {path} is damaged: {detail}"
    fields = ("path", "detail")


class StoreFull(EnvironmentFault):
    """The disk is full; what was acknowledged before is safe, this act was not stored."""

    code = "store.full"
    text = "no space left for {path}; nothing of this act was stored"
    fields = ("path",)
    ERRNOS: ClassVar[frozenset[int]] = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class FolderNotWritable(EnvironmentFault):
    """The folder or file cannot be written."""

    code = "store.not_writable"
    text = "{path} cannot be written: {detail}"
    fields = ("path", "detail")


class FileUnreadable(EnvironmentFault):
    """A file named by the person cannot be read."""

    code = "file.unreadable"
    text = "{path} cannot be read: {detail}"
    fields = ("path", "detail")


class FileTooLarge(Refused):
    """A file is larger than its kind may be."""

    code = "file.too_large"
    text = "{path} has {found} bytes, limit {most}"
    fields = ("path", "found", "most")
