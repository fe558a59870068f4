"""The Recovery phrase: BIP39's own vectors, kind reading, and errors that name the slip."""

from __future__ import annotations

import hashlib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.core.crypto.phrase import bip39_seed, new_phrase, parse_phrase, root_secret
from hanse.core.errors import BadPhraseChecksum, BadPhraseLength, BadPhraseWord

ART = "abandon " * 23 + "art"

# The 24-word vectors of the BIP39 reference implementation.
BIP39_ENTROPY = [
    ("00" * 32, ART),
    (
        "7f" * 32,
        "legal winner thank year wave sausage worth useful " * 2
        + "legal winner thank year wave sausage worth title",
    ),
    (
        "80" * 32,
        "letter advice cage absurd amount doctor acoustic avoid " * 2
        + "letter advice cage absurd amount doctor acoustic bless",
    ),
    ("ff" * 32, "zoo " * 23 + "vote"),
    (
        "68a79eaca2324873eacc50cb9c6eca8cc68ea5d936f98787c60c7ebc74e6ce7c",
        (
            "hamster diagram private dutch cause delay private meat slide toddler razor book "
            "happy fancy gospel tennis maple dilemma loan word shrug inflict delay length"
        ),
    ),
    (
        "9f6a2878b2520799a44ef18bc7df394e7061a224d2c33cd015b157d746869863",
        (
            "panda eyebrow bullet gorilla call smoke muffin taste mesh discover soft ostrich "
            "alcohol speed nation flash devote level hobby quick inner drive ghost inside"
        ),
    ),
    (
        "f585c11aec520db57dd353c69554b21a89b20fb0650966fa0a9d6f74fd989d8f",
        (
            "void come effort suffer camp survey warrior heavy shoot primary clutch crush "
            "open amazing screen patrol group space point ten exist slush involve unfold"
        ),
    ),
]


@pytest.mark.parametrize(("entropy", "words"), BIP39_ENTROPY)
def test_vectors_of_bip39_hold(entropy, words):
    phrase = new_phrase(bytes.fromhex(entropy), "en")
    assert phrase.text == words
    assert parse_phrase(words) == phrase


def test_seed_of_a_known_phrase_is_that_of_other_wallets():
    # Published widely for this phrase without a BIP39 passphrase.
    assert bip39_seed(parse_phrase(ART)).hex() == (
        "408b285c123836004f4b8842c89324c1f01382450c0d439af345ba7fc49acf70"
        "5489c6fc77dbd4e3dc1dd8cc6bc9f043db8ada1e243c4a0eafb290d399480840"
    )


@pytest.mark.parametrize("language", ["en", "zh_CN"])
def test_seed_is_the_pbkdf2_of_the_words(language):
    phrase = new_phrase(bytes(range(32)), language)
    sentence = unicodedata.normalize("NFKD", " ".join(phrase.words)).encode()
    assert bip39_seed(phrase) == hashlib.pbkdf2_hmac("sha512", sentence, b"mnemonic", 2048)


@pytest.mark.parametrize("language", ["en", "zh_CN"])
@given(entropy=st.binary(min_size=32, max_size=32))
def test_every_phrase_is_read_as_it_was_shown(language, entropy):
    phrase = new_phrase(entropy, language)
    assert len(phrase.words) == 24
    assert parse_phrase(phrase.text) == phrase


@pytest.mark.parametrize(
    "typed",
    [
        ART.upper(),
        f"  {ART}\n",
        ART.replace(" ", "\n\t "),
        ART.replace(" ", "\u3000"),
        ART.replace(" ", "\u00a0"),
        "\ufeff" + ART.replace(" ", "\u200b"),
        "".join(chr(ord(c) + 0xFEE0) if c != " " else c for c in ART),  # full-width letters
    ],
)
def test_english_phrase_is_read_kindly(typed):
    assert parse_phrase(typed) == new_phrase(bytes(32), "en")


def test_chinese_phrase_is_read_without_spaces():
    phrase = new_phrase(bytes(range(32)), "zh_CN")
    assert parse_phrase("".join(phrase.words)) == phrase
    assert parse_phrase("\u3000".join(phrase.words)) == phrase
    assert parse_phrase(phrase.text[:13] + "\n" + "".join(phrase.words[7:])) == phrase


def test_language_is_found_by_itself():
    assert parse_phrase(ART).language == "en"
    assert parse_phrase(new_phrase(bytes(32), "zh_CN").text).language == "zh_CN"


def test_one_phrase_gives_one_root_secret():
    assert root_secret(parse_phrase(ART)) == root_secret(parse_phrase(ART.upper()))
    assert root_secret(parse_phrase(ART)) != root_secret(new_phrase(b"\1" * 32, "en"))


@pytest.mark.parametrize(("typed", "found"), [("", 0), ("abandon", 1), (ART + " art", 25)])
def test_wrong_number_of_words_is_counted(typed, found):
    with pytest.raises(BadPhraseLength) as caught:
        parse_phrase(typed)
    assert caught.value.values == {"expected": 24, "found": found}


@pytest.mark.parametrize(
    ("slip", "nearest"),
    [("abandom", "abandon"), ("ababdon", "abandon"), ("qqqqqq", ""), ("zo", "zoo"), ("的", "")],
)
def test_unknown_word_is_named_with_its_place_and_the_nearest(slip, nearest):
    words = ART.split()
    words[6] = slip
    with pytest.raises(BadPhraseWord) as caught:
        parse_phrase(" ".join(words))
    assert caught.value.values == {"number": 7, "word": slip, "nearest": nearest}


def test_unknown_chinese_word_is_named():
    words = list(new_phrase(bytes(32), "zh_CN").words)
    words[23] = "龘"
    with pytest.raises(BadPhraseWord) as caught:
        parse_phrase("".join(words))
    assert caught.value.values == {"number": 24, "word": "龘", "nearest": ""}


def test_huge_word_is_shown_in_part():
    with pytest.raises(BadPhraseWord) as caught:
        parse_phrase("abandon " * 23 + "a" * 1_000_000)
    assert len(str(caught.value)) < 200


def test_words_that_do_not_belong_together_are_refused():
    with pytest.raises(BadPhraseChecksum):
        parse_phrase("abandon " * 24)


def test_words_out_of_place_are_refused():
    words = new_phrase(bytes(range(32)), "en").words
    with pytest.raises(BadPhraseChecksum):
        parse_phrase(" ".join((words[1], words[0], *words[2:])))


def test_repr_hides_the_words():
    phrase = new_phrase(bytes(range(32)), "en")
    assert repr(phrase) == "Phrase(language='en')"
