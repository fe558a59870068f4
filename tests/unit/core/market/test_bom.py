"""A BOM passes the strict validator, says what is stated and nothing else, and repeats."""

from __future__ import annotations

import json

import msgspec
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from hanse.core.market.bom import BomFile, BomSubject, bom_json
from hanse.core.market.listings import card_of, listing_body, release_body
from hanse.core.model.card import Energy, ModelCard
from tests.fakes.drafts import NOW_MS, SALT, VOCABULARY, full_draft, small_draft, tier

SERIAL = bytes(range(16))


def subject(draft, **changes):
    release = release_body(draft, SALT, listing=b"l" * 32, card=b"c" * 32, seal=None)
    values = {
        "listing": listing_body(draft, SALT, now_ms=NOW_MS, vocabulary=VOCABULARY),
        "release": release,
        "card": card_of(draft),
        "listing_id": b"l" * 32,
        "release_id": b"r" * 32,
        "supplier": "安娜 & Co",
        "identity": "hanse:id:abc",
        **changes,
    }
    return BomSubject(**values)


def written(draft, **changes):
    return bom_json(subject(draft, **changes), time_ms=NOW_MS, serial=SERIAL)


FILES = (
    BomFile("model.onnx", 20_000, b"1" * 32),
    BomFile("权重/weights.bin", 6_143, b"2" * 32),
)
CASES = {
    "small": (small_draft(), {}),
    "full": (full_draft(), {"files": FILES, "certificates": (b"e" * 32, b"f" * 32)}),
    "one file": (small_draft(), {"files": FILES[:1]}),
    "nobody": (small_draft(tiers=()), {"supplier": "", "card": ModelCard()}),
    "chinese": (full_draft(title="表单识别", text="识别手写数字。", lang="zh"), {"files": FILES}),
    "expressions": (
        small_draft(
            tiers=(
                tier("open-mit"),
                msgspec.structs.replace(
                    tier(),
                    terms=msgspec.structs.replace(tier().terms, spdx="MIT AND ISC"),
                ),
            )
        ),
        {},
    ),
}


@pytest.fixture(scope="module")
def validator():
    return JsonStrictValidator(SchemaVersion.V1_6)


@pytest.mark.parametrize("case", CASES)
def test_the_strict_validator_takes_it(case, validator):
    draft, changes = CASES[case]
    assert validator.validate_str(written(draft, **changes)) is None


@pytest.mark.parametrize(
    "energy", [Energy(training_wh=1000), Energy(co2e_g=3), Energy(training_wh=1, co2e_g=1)]
)
def test_energy_is_an_exact_number_of_the_unit_asked_for(energy, validator):
    text = written(small_draft(card=ModelCard(energy=energy)))
    assert validator.validate_str(text) is None
    if energy.training_wh == 1:
        assert '"value": 0.001' in text
        assert '"value": 0.000001' in text


def test_it_says_what_is_stated():
    draft, changes = CASES["full"]
    component = json.loads(written(draft, **changes))["metadata"]["component"]
    assert component["name"] == "Form reader"
    assert component["version"] == "1.2.0"
    assert component["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    assert [one["name"] for one in component["pedigree"]["ancestors"]] == ["Base", "Mine"]
    assert [one["hashes"][0]["content"] for one in component["components"]] == [
        "31" * 32,
        "32" * 32,
    ]
    urls = {one["url"] for one in component["externalReferences"]}
    assert urls == {
        "https://example.org/paper",
        *(f"urn:hanse:entry:{digit * 32}" for digit in ("72", "65", "66")),
    }
    card = component["modelCard"]
    metrics = card["quantitativeAnalysis"]["performanceMetrics"]
    assert (metrics[0]["type"], metrics[0]["value"]) == ("accuracy", "0.874")
    assert metrics[0]["confidenceInterval"] == {"lowerBound": "0.858", "upperBound": "0.888"}
    assert card["modelParameters"]["inputs"][0]["format"].startswith("image: float32[batch, 1, 28")
    own = {one["name"]: one["value"] for one in card["properties"] + component["properties"]}
    assert own["hanse:risk.human_oversight"] == "every tenth form is read"
    assert own["hanse:parity"] == "pass"
    assert own["hanse:reference.2"] == "a book, page 7"
    assert own["hanse:artifact"] == "61" * 32


def test_what_is_not_stated_does_not_appear():
    text = written(small_draft())
    assert "not_stated" not in text
    assert "considerations" not in text
    assert '""' not in text


def test_a_single_file_is_the_component_s_own_hash():
    component = json.loads(written(small_draft(), files=FILES[:1]))["metadata"]["component"]
    assert component["hashes"] == [{"alg": "SHA-256", "content": "31" * 32}]


def test_the_same_arguments_give_the_same_bytes_and_a_serial_of_version_4():
    draft, changes = CASES["full"]
    assert written(draft, **changes) == written(draft, **changes)
    assert json.loads(written(draft))["serialNumber"] == (
        "urn:uuid:00010203-0405-4607-8809-0a0b0c0d0e0f"
    )


def test_a_tier_of_another_program_and_a_time_beyond_calendars_are_survived(validator):
    release = msgspec.structs.replace(subject(small_draft()).release, tiers=({"other": 1},))
    text = bom_json(subject(small_draft(), release=release), time_ms=2**62, serial=SERIAL)
    assert validator.validate_str(text) is None
    assert "licenses" not in text
