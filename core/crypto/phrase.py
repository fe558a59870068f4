"""The Recovery phrase: 24 BIP39 words, English or Simplified Chinese.

* 256 bits of entropy and a checksum of 8 bits, 11 bits a word.
* What a person types is read kindly: any whitespace, any case, full-width
  letters, Chinese with or without spaces.  What does not fit is named: how many
  words, which word, or that the words do not belong together.
* The phrase stands for its words as BIP39 spells them (NFKD, one space), so any
  BIP39 program computes the same 64-byte seed; there is no BIP39 passphrase.

Words never stand in a ``repr``.  One mistyped word does stand in the error that
names it: it is not a word of the phrase.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

from mnemonic import Mnemonic

from hanse.core.crypto.derivation import BIP39_SEED_SIZE_BYTES, RootSecret
from hanse.core.errors import BadPhraseChecksum, BadPhraseLength, BadPhraseWord

if TYPE_CHECKING:
    from collections.abc import Sequence

Language = Literal["en", "zh_CN"]

PHRASE_WORDS: Final = 24
ENTROPY_SIZE_BYTES: Final = 32

_LIST_NAMES: Final[dict[Language, str]] = {"en": "english", "zh_CN": "chinese_simplified"}
_PBKDF2_ROUNDS: Final = 2048
_UNIQUE_LETTERS: Final = 4  # BIP39: no two English words begin with the same four letters
_SHOWN_LETTERS: Final = 24  # of a mistyped word; the longest list word has 8
_IDEOGRAPHS: Final = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]+")
_INVISIBLE: Final = re.compile("[\u200b\u2060\ufeff]")  # come along when copied from web pages


@dataclass(frozen=True, slots=True)
class Phrase:
    """24 list words whose checksum fits, as ``new_phrase`` and ``parse_phrase`` give them."""

    words: tuple[str, ...] = field(repr=False)
    language: Language

    def __post_init__(self) -> None:
        assert len(self.words) == PHRASE_WORDS

    @property
    def text(self) -> str:
        """The words with one space between them, to be shown once."""
        return " ".join(self.words)


def new_phrase(entropy: bytes, language: Language) -> Phrase:
    """Write 32 random bytes as a phrase."""
    assert len(entropy) == ENTROPY_SIZE_BYTES
    words = _bip39(language).to_mnemonic(entropy).split(" ")
    return Phrase(tuple(words), language)


def parse_phrase(text: str) -> Phrase:
    """Read what a person typed, or say what is wrong: length, a word, or the checksum."""
    words = _split(text)
    if len(words) != PHRASE_WORDS:
        raise BadPhraseLength(expected=PHRASE_WORDS, found=len(words))
    language = _language(words)
    known = _words(language)
    for number, word in enumerate(words, start=1):
        if word not in known:
            raise BadPhraseWord(
                number=number, word=word[:_SHOWN_LETTERS], nearest=_nearest(word, language)
            )
    if not _bip39(language).check(" ".join(words)):
        raise BadPhraseChecksum
    return Phrase(words, language)


def bip39_seed(phrase: Phrase) -> bytes:
    """Compute the 64 bytes every BIP39 program computes for this phrase."""
    sentence = unicodedata.normalize("NFKD", phrase.text).encode()
    # BIP39: the salt is "mnemonic" + passphrase; ours is empty.
    return hashlib.pbkdf2_hmac(
        "sha512", sentence, b"mnemonic", _PBKDF2_ROUNDS, BIP39_SEED_SIZE_BYTES
    )


def root_secret(phrase: Phrase) -> RootSecret:
    """Make R from the phrase."""
    return RootSecret.from_bip39_seed(bip39_seed(phrase))


@lru_cache(maxsize=len(_LIST_NAMES))
def _bip39(language: Language) -> Mnemonic:
    return Mnemonic(_LIST_NAMES[language])


@lru_cache(maxsize=len(_LIST_NAMES))
def _words(language: Language) -> frozenset[str]:
    return frozenset(_bip39(language).wordlist)


def _split(text: str) -> tuple[str, ...]:
    # NFKD turns the ideographic space into a space and full-width letters into plain ones.
    plain = unicodedata.normalize("NFKD", _INVISIBLE.sub(" ", text)).casefold()
    words: list[str] = []
    for token in plain.split():
        # Every Chinese list word is one character, so a run of them is that many words.
        words.extend(token if _IDEOGRAPHS.fullmatch(token) else (token,))
    return tuple(words)


def _language(words: Sequence[str]) -> Language:
    """Take the language most words are of; one slip must not turn a phrase into the other."""
    ideographs = sum(1 for word in words if _IDEOGRAPHS.fullmatch(word))
    return "zh_CN" if 2 * ideographs > len(words) else "en"


def _nearest(word: str, language: Language) -> str:
    known = _bip39(language).wordlist
    if len(word) >= _UNIQUE_LETTERS:
        for candidate in known:
            if candidate.startswith(word[:_UNIQUE_LETTERS]):
                return candidate
    close = get_close_matches(word[:_SHOWN_LETTERS], known, n=1)
    return close[0] if close else ""
