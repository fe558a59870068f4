"""A Release as a CycloneDX 1.6 ML-BOM: what procurement tools read.

* Made by hand as a dictionary: only what the 1.6 schema knows, figures as text where it
  asks for text.  What it has no place for stands in ``properties`` as ``hanse:*``.
* The same arguments give the same bytes; time and serial number are arguments.
* Nothing that is not stated appears, not even as an empty text.
* An id of an Entry is written ``urn:hanse:entry:<hex>``.

Source: CycloneDX 1.6 (ECMA-424), JSON schema ``bom-1.6``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import msgspec

from hanse.core.errors import BadShape
from hanse.core.market.scaled import micro_text, scaled_text
from hanse.core.model.card import CHECKLIST
from hanse.core.model.licence import RIGHTS, Tier, read_tier

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hanse.core.ledger.kinds import Listing1, Release1
    from hanse.core.model.card import BaseModel, Dataset, ModelCard, Result, Tensor

Json = dict[str, object]

_GRAMS_OF_A_TONNE_PLACES: Final = 6
_LAST_SECOND: Final = 253_402_300_799  # of the year 9999: an author may claim any time
_URL: Final = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]{1,2000}\Z")


@dataclass(frozen=True, slots=True)
class BomFile:
    """One file of the Artifact: its path, size in bytes and SHA-256."""

    path: str
    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class BomSubject:
    """The Release a BOM is of: its signed Bodies, its card, and what names them."""

    listing: Listing1
    release: Release1
    card: ModelCard
    listing_id: bytes
    release_id: bytes
    supplier: str  # the seller's name, as his Profile says it
    identity: str  # hanse:id:...
    files: tuple[BomFile, ...] = ()
    certificates: tuple[bytes, ...] = ()  # Entry ids


def bom_json(subject: BomSubject, *, time_ms: int, serial: bytes) -> str:
    """Write the BOM as JSON text; ``serial`` are the 16 bytes of a UUID of version 4."""
    encoder = msgspec.json.Encoder(decimal_format="number")
    raw = encoder.encode(bom(subject, time_ms=time_ms, serial=serial))
    return msgspec.json.format(raw, indent=2).decode()


def bom(subject: BomSubject, *, time_ms: int, serial: bytes) -> Json:
    """Build the BOM of one Release."""
    when = datetime.fromtimestamp(min(time_ms // 1000, _LAST_SECOND), UTC)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{_uuid(serial)}",
        "version": 1,
        "metadata": {
            "timestamp": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": _component(subject),
        },
    }


def _uuid(serial: bytes) -> str:
    assert len(serial) == 16
    marked = bytearray(serial)
    marked[6] = marked[6] & 0x0F | 0x40  # RFC 9562: version 4
    marked[8] = marked[8] & 0x3F | 0x80  # and its variant
    digits = marked.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _urn(entry_id: bytes) -> str:
    return f"urn:hanse:entry:{entry_id.hex()}"


def _component(subject: BomSubject) -> Json:
    listing, release, card = subject.listing, subject.release, subject.card
    hashes = [_hash(subject.files[0].sha256)] if len(subject.files) == 1 else []
    expression = _expression(release)
    return _stated(
        {
            "type": "machine-learning-model",
            "bom-ref": _urn(subject.release_id),
            "supplier": _stated({"name": subject.supplier}),
            "name": listing.title,
            "version": release.version,
            "description": listing.summary or listing.text,
            "hashes": hashes,
            "licenses": [{"expression": expression}] if expression else [],
            "pedigree": _stated(
                {"ancestors": [_ancestor(n, one) for n, one in enumerate(card.lineage.base_models)]}
            ),
            "externalReferences": _references(subject),
            "components": [_file(number, one) for number, one in enumerate(subject.files)],
            "modelCard": _model_card(subject),
            "properties": list(_properties(subject)),
            "tags": list(listing.tags),
        }
    )


def _model_card(subject: BomSubject) -> Json:
    card = subject.card
    use, risk = card.use, card.risk
    return _stated(
        {
            "modelParameters": _stated(
                {
                    "task": subject.listing.task,
                    "architectureFamily": card.architecture.family,
                    "modelArchitecture": card.architecture.objective,
                    "datasets": [_dataset(one) for one in card.training.datasets],
                    "inputs": [_format(one) for one in card.signature.inputs],
                    "outputs": [_format(one) for one in card.signature.outputs],
                }
            ),
            "quantitativeAnalysis": _stated(
                {"performanceMetrics": [_metric(one) for one in card.claims]}
            ),
            "considerations": _stated(
                {
                    "users": _one(use.users),
                    "useCases": _one(use.uses),
                    "technicalLimitations": _one(use.limitations),
                    "performanceTradeoffs": _one(use.trade_offs),
                    "ethicalConsiderations": [
                        _stated({"name": one.risk, "mitigationStrategy": one.mitigation})
                        for one in risk.ethics
                    ],
                    "environmentalConsiderations": _environment(card),
                    "fairnessAssessments": [
                        _stated(
                            {
                                "groupAtRisk": one.group,
                                "harms": one.harm,
                                "mitigationStrategy": one.mitigation,
                            }
                        )
                        for one in risk.fairness
                    ],
                }
            ),
            "properties": list(_card_properties(card)),
        }
    )


def _format(tensor: Tensor) -> Json:
    shape = "" if tensor.shape is None else "[" + ", ".join(_axis(n) for n in tensor.shape) + "]"
    parts = (f"{tensor.name}: {tensor.dtype}{shape}", tensor.semantics, tensor.unit)
    return {"format": "; ".join(part for part in parts if part)}


def _axis(size: int | str | None) -> str:
    return "?" if size is None else str(size)


def _metric(result: Result) -> Json:
    interval = {
        "lowerBound": None if result.ci_low_micro is None else micro_text(result.ci_low_micro),
        "upperBound": None if result.ci_high_micro is None else micro_text(result.ci_high_micro),
    }
    parts = (result.dataset, result.split, result.slice)
    return _stated(
        {
            "type": result.metric,
            "value": micro_text(result.value_micro),
            "slice": ", ".join(part for part in parts if part),
            "confidenceInterval": _stated(interval),
        }
    )


def _dataset(dataset: Dataset) -> Json:
    facts = {
        "source": dataset.source,
        "provenance": dataset.provenance,
        "period": dataset.period,
        "size_band": dataset.size_band,
        "personal": dataset.personal,
        "sensitive": dataset.sensitive,
        "licence": dataset.licence,
        "collection": dataset.collection,
        "preprocessing": dataset.preprocessing,
        "known_bias": dataset.known_bias,
    }
    held = [word for word in ("personal", "sensitive") if facts[word] == "yes"]
    properties = [_property(f"dataset.{name}", value) for name, value in facts.items() if value]
    return _stated(
        {
            "type": "dataset",
            "name": dataset.name,
            "contents": {"properties": properties},
            "sensitiveData": held,
        }
    )


def _environment(card: ModelCard) -> Json:
    energy = card.energy
    properties = [
        _property(f"energy.{name}", value)
        for name, value in (("hardware", energy.hardware), ("region", energy.region))
        if value
    ]
    consumption: Json = {}
    if energy.training_wh is not None:
        consumption = {
            "activity": "training",
            "energyProviders": [],
            "activityEnergyCost": {"value": _number(energy.training_wh, 3), "unit": "kWh"},
        }
        if energy.co2e_g is not None:
            tonnes = _number(energy.co2e_g, _GRAMS_OF_A_TONNE_PLACES)
            consumption["co2CostEquivalent"] = {"value": tonnes, "unit": "tCO2eq"}
    elif energy.co2e_g is not None:
        properties.append(_property("energy.co2e_g", str(energy.co2e_g)))
    return _stated(
        {"energyConsumptions": [consumption] if consumption else [], "properties": properties}
    )


def _number(value: int, places: int) -> int | Decimal:
    """Return ``value`` x 10**-``places`` as a JSON number, without a float in between."""
    whole, rest = divmod(value, 10**places)
    return Decimal(scaled_text(value, places)) if rest else whole


def _ancestor(number: int, base: BaseModel) -> Json:
    release = f"urn:hanse:entry:{base.release.hex()}" if base.release is not None else ""
    properties = [
        _property(f"base.{name}", value)
        for name, value in (("id", base.id), ("relation", base.relation), ("release", release))
        if value
    ]
    return _stated(
        {
            "type": "machine-learning-model",
            "bom-ref": f"base-{number + 1}",
            "name": base.name or base.id or release or f"base {number + 1}",
            "licenses": [{"license": {"name": base.licence}}] if base.licence else [],
            "properties": properties,
        }
    )


def _file(number: int, file: BomFile) -> Json:
    return {
        "type": "file",
        "bom-ref": f"file-{number + 1}",
        "name": file.path,
        "hashes": [_hash(file.sha256)],
        "properties": [_property("file.size", str(file.size))],
    }


def _hash(digest: bytes) -> Json:
    return {"alg": "SHA-256", "content": digest.hex()}


def _references(subject: BomSubject) -> list[Json]:
    references: list[Json] = [{"type": "distribution", "url": _urn(subject.release_id)}]
    references += [{"type": "attestation", "url": _urn(one)} for one in subject.certificates]
    references += [
        {"type": "documentation", "url": one} for one in subject.card.references if _URL.match(one)
    ]
    return references


def _expression(release: Release1) -> str:
    """Write the licences on offer as one SPDX expression: the buyer takes one of them."""
    ids = tuple(dict.fromkeys(tier.terms.spdx for tier in _tiers(release)))
    if len(ids) == 1:
        return ids[0]
    return " OR ".join(f"({one})" if " AND " in one else one for one in ids)


def _tiers(release: Release1) -> Iterator[Tier]:
    for held in release.tiers:
        try:
            yield read_tier(held)
        except BadShape:
            continue  # another program's tier: what cannot be read is not stated


def _properties(subject: BomSubject) -> Iterator[Json]:
    listing, release = subject.listing, subject.release
    facts = {
        "seller": subject.identity,
        "listing": subject.listing_id.hex(),
        "release": subject.release_id.hex(),
        "artifact": release.artifact.hex(),
        "artifact.size": str(release.size),
        "artifact.files": str(release.files),
        "edition": release.edition,
        "sealed": _yes(release.seal is not None),
        "card": release.card.hex(),
        "language": listing.lang,
        "sectors": ", ".join(listing.sectors),
        "formats": ", ".join(release.formats),
        "trials": ", ".join(listing.trials),
    }
    yield from (_property(name, value) for name, value in facts.items() if value)
    for number, tier in enumerate(_tiers(release), start=1):
        matrix = " ".join(f"{name}={tier.terms.right(name)}" for name in RIGHTS)
        yield _property(f"tier.{number}.name", tier.name)
        yield _property(f"tier.{number}.licence", tier.terms.spdx)
        yield _property(f"tier.{number}.text_sha256", tier.terms.text_hash.hex())
        yield _property(f"tier.{number}.rights", matrix)


def _card_properties(card: ModelCard) -> Iterator[Json]:
    act, parameters = card.ai_act, card.architecture.parameters
    facts: dict[str, str | bool | None] = {
        "modality_in": ", ".join(card.modality_in),
        "modality_out": ", ".join(card.modality_out),
        "parameters": None if parameters is None else str(parameters),
        "made_from": None if card.made_from is None else card.made_from.hex(),
        "parity": None if card.parity is None else card.parity.verdict,
        "lineage.method": card.lineage.method,
        "lineage.is_original": card.lineage.is_original,
        "training.opt_out_respected": card.training.opt_out_respected,
        "training.cannot_disclose": card.training.cannot_disclose,
        "use.out_of_scope": card.use.out_of_scope,
        "risk.explainability": card.risk.explainability,
        "risk.safety_risk": card.risk.safety_risk,
        "risk.human_oversight": card.risk.human_oversight,
        "ai_act.role": act.role,
        "ai_act.is_gpai": act.is_gpai,
        "ai_act.systemic": act.systemic,
        "ai_act.annex_iii_area": act.annex_iii_area,
        "ai_act.no_prohibited_use": act.no_prohibited_use,
        "ai_act.training_summary_url": act.training_summary_url,
        "ai_act.copyright_policy": act.copyright_policy,
        "ai_act.eu_contact": act.eu_contact,
    }
    for number, variant in enumerate(card.variants, start=1):
        facts[f"variant.{number}.framework"] = variant.framework
        facts[f"variant.{number}.opset"] = str(variant.opset) if variant.opset else ""
        facts[f"variant.{number}.quantisation"] = variant.quantisation
    for point, answer in zip(CHECKLIST, card.checklist, strict=True):
        facts[f"checklist.{point}"] = answer
    for number, reference in enumerate(card.references, start=1):
        facts[f"reference.{number}"] = "" if _URL.match(reference) else reference
    for name, value in facts.items():
        if value not in (None, "", "not_stated"):
            yield _property(name, _yes(value) if isinstance(value, bool) else str(value))


def _property(name: str, value: str) -> Json:
    return {"name": f"hanse:{name}", "value": value}


def _yes(value: object) -> str:
    return "yes" if value else "no"


def _one(text: str) -> list[str]:
    return [text] if text else []


def _stated(facts: Mapping[str, object]) -> Json:
    """Leave out what is not stated."""
    return {name: value for name, value in facts.items() if value not in (None, "", [], {})}
