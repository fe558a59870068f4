"""Writes ``kinds.json``: for every kind one Body that is valid, and broken ones with the reason.

Run as ``python -m tests.vectors.make_kinds``.  The same code gives the same
bytes; what a released version wrote never changes.  Bodies are encoded by
``dag-cbor``, which shares no code with Hanse.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dag_cbor
import msgspec

from hanse.core.ledger.codec import encode
from hanse.core.ledger.kinds import (
    KINDS,
    Blob,
    Body,
    Cert1,
    CertRevoke1,
    Demand1,
    Device1,
    Disclose1,
    Epoch1,
    Erase1,
    Fault1,
    Follow1,
    Fork1,
    HumanReview1,
    Identity1,
    Label1,
    LicenceRevoke1,
    Listing1,
    Mediator1,
    Message1,
    Offer1,
    Price1,
    Private1,
    Profile1,
    Receipt1,
    Release1,
    Renew1,
    Reply1,
    Review1,
    ReviewPoint,
    Revoke1,
    Rotate1,
    Ruling1,
    Sale1,
    SaleFact,
    Seal,
    Seeds1,
    Trial1,
    Warranty1,
    Witness1,
)
from hanse.core.model.money import Money
from hanse.core.model.trial import (
    AnswersTerms,
    PlanSteps,
    SealedTerms,
    TrialClose,
    TrialCommit,
    TrialGrant,
    TrialLimits,
    TrialRefusal,
    TrialRequest,
)
from tests.fakes.chance import SeededChance

FILE = Path(__file__).with_name("kinds.json")
TIME_MS = 1_795_000_000_000
EURO = Money(13_000, "EUR", 2)
LESS_THAN_NOTHING = [-1, "EUR", 2]

_chance = SeededChance("hanse/vectors/kinds/1")


def _b(size: int = 32) -> bytes:
    return _chance.bytes(size)


def _fact() -> bytes:
    return encode(SaleFact(1, _b(), _b(), _b(), _b(), 3, EURO, _b(), _b()))


def _low(raw: bytes) -> bytes:
    return b"\x00" + raw[1:]


_DEVICES = sorted((_b(), _b(), _b()))
_ARTIFACT = _b()

VALID: tuple[Body, ...] = (
    Identity1(salt=_b(16), identity=_b(), r=0, epoch=0, box=_b(), rotated_from=None),
    Revoke1(
        salt=_b(16),
        device=_b(),
        last_seq=17,
        last_id=_b(),
        successor=_b(),
        epoch=1,
        box=_b(),
        reason="stolen",
    ),
    Rotate1(
        salt=_b(16),
        r=1,
        root=_b(),
        epoch=2,
        sig=_b(64),
        devices=(
            (_DEVICES[0], None, None),
            (_DEVICES[1], 42, _b()),
            (_DEVICES[2], 0, None),
        ),
    ),
    Device1(
        salt=_b(16),
        identity=_b(),
        r=0,
        root=_b(),
        role="full",
        name="Werkstatt 工作间",
        box=_b(),
        sig=_b(64),
    ),
    Profile1(
        salt=_b(16),
        name="Ada Lübeck",
        about="Small vision models.\nI answer in a day.",
        web=("https://example.org",),
        contact="ada@example.org",
        sectors=("retail", "logistics"),
        avatar=_b(),
        lang="zh-CN",
    ),
    Listing1(
        salt=_b(16),
        listing=None,
        title="Parcel damage detector",
        summary="Finds dents and tears in photographs of parcels.",
        text="Trained on 40,000 photographs.\n\nRuns on a laptop.",
        lang="en",
        task="image-classification",
        sectors=("logistics",),
        tags=("parcels", "damage"),
        concepts=("defect-detection",),
        trials=("open", "sealed"),
        prefs={"weights": {"budget": 3}, "seats_min": 2, "deposit": False},
        capacity=None,
        mediators=(_b(),),
        valid_until=TIME_MS,
        state="open",
        media=(_b(),),
    ),
    Release1(
        salt=_b(16),
        listing=_b(),
        version="1.0.0",
        artifact=_ARTIFACT,
        size=26_143,
        files=1,
        formats=("onnx",),
        edition="full",
        of=None,
        seal=Seal(
            v=1,
            epoch=0,
            salt=_b(),
            ck_commit=_b(),
            seal_root=_b(),
            scope="release",
            manifests=(_ARTIFACT, _b()),
        ),
        tiers=({"tier": "team", "seats": 5, "commercial": 1, "territories": []},),
        card=_b(),
        base=(_b(),),
        notes="First release.",
        supersedes=None,
    ),
    Price1(
        salt=_b(16),
        listing=_b(),
        release=None,
        mode="signals",
        amount=Money(10_000, "EUR", 2),
        floor=7_000,
        ceil=13_000,
        tick=10,
        params={"policy": 1, "wd": 1500, "wq": 1000, "wr": 500, "epoch_days": 7},
        anchors=(_b(),),
    ),
    Epoch1(
        salt=_b(16),
        price=_b(),
        epoch=4,
        asked_milli=25_000,
        paid=2,
        facts=tuple(sorted((_b(), _b(), _b()))),
        amount=Money(10_820, "EUR", 2),
    ),
    Sale1(salt=_b(16), fact=_fact(), rating_sig=_b(64)),
    Cert1(
        salt=_b(16),
        envelope=b'{"payload": "e30="}',
        artifact=_b(),
        suite="core/1.0.0",
        suite_sha256=_b(),
        level=3,
        golden=Blob(_b(), 81_920, None),
        reproduces=None,
    ),
    CertRevoke1(salt=_b(16), cert=_b(), reason="machine_fault", text="A memory bank was bad."),
    HumanReview1(
        salt=_b(16),
        release=_b(),
        artifact=_b(),
        points=(ReviewPoint("yes", ""), ReviewPoint("no", "No limits are stated.")) * 4,
        verdict="object",
        notes="Useful, but it promises too much.",
        conflict="paid",
        paid_by="Spedition Nord",
        tried=(_b(),),
        supersedes=None,
    ),
    Demand1(
        salt=_b(16),
        demand=None,
        title="Read meter photographs",
        text="Digits from photographs of water meters.",
        task="ocr",
        sectors=("utilities",),
        need={
            "formats": ["onnx"],
            "hw": {"ram_mb": 2048},
            "metrics": [{"metric": "accuracy", "threshold": 950, "better": "high"}],
        },
        weights={"metric": 100, "price": 40},
        amount=Money(50_000, "EUR", 2),
        valid_until=TIME_MS,
        state="open",
    ),
    Offer1(
        salt=_b(16),
        demand=_b(),
        listing=_b(),
        release=_b(),
        amount=EURO,
        expires=TIME_MS,
        note="With a year of support.",
    ),
    Review1(
        salt=_b(16),
        fact=_fact(),
        seller_sig=_b(64),
        claim_sig=_b(64),
        receipt=_b(),
        nonce=_b(16),
        rating=8,
        aspects={"accuracy": 9, "delivery": 10},
        text="Does what it says.\nSlow on our oldest machine.",
        supersedes=None,
        withdrawn=False,
    ),
    Reply1(salt=_b(16), to=_b(), text="Version 1.1 is twice as fast."),
    Label1(
        salt=_b(16),
        subject=_b(),
        scheme="hanse",
        value="spam",
        negate=False,
        reason="The same Listing eleven times.",
        expires=None,
    ),
    Follow1(salt=_b(16), identity=_b(), weight=3),
    Renew1(salt=_b(16), of=(_b(), _b()), until=TIME_MS),
    LicenceRevoke1(salt=_b(16), licence=_b(16), unlock=_b(), reason="Paid back in full."),
    Mediator1(
        salt=_b(16),
        fee=Money(2_500, "EUR", 2),
        fee_bp=150,
        hours=72,
        classes=("misdescribed",),
        langs=("en", "zh-CN"),
        rails=("bank",),
        holds_keys=True,
        text="I answer on working days.",
    ),
    Erase1(salt=_b(16), targets=(_b(),), reason="My address stood in it."),
    Witness1(
        salt=_b(16),
        heads=tuple((key, seq, _b()) for key, seq in zip(_DEVICES, (1, 9, 300), strict=True)),
    ),
    Fork1(salt=_b(16), proof=_b(461)),
    Fault1(salt=_b(16), evidence=_b(900)),
    Disclose1(salt=_b(16), entry=_b(), key=_b()),
    Private1(commit=_b(), ct=_b(1064), to=tuple(_b(80) for _ in range(2))),
    Receipt1(commit=_b(), ct=_b(2088), to=tuple(_b(80) for _ in range(4)), licence=_b()),
    Ruling1(commit=_b(), ct=_b(1064), to=tuple(_b(80) for _ in range(8))),
)

VALID_INNER = (
    Message1(order=_b(), text="The invoice, as asked.", files=(Blob(_b(), 4_140, _b()),)),
    Seeds1(seeds=((0, _b(), _b()), (1, _b(), _b()))),
)

_t = SeededChance("hanse/vectors/kinds/trial/1").bytes  # apart, so that older vectors stay
_TRIAL = _t(32)

VALID_TRIAL = (
    Trial1.of(
        TrialRequest(
            release=_t(32),
            way="answers",
            commit=TrialCommit(
                root=_t(32),
                n=1000,
                metric="accuracy",
                claim=900_000,
                margin=50_000,
                alpha=50_000,
                beta=100_000,
            ),
            expires=TIME_MS,
        )
    ),
    Trial1.of(
        TrialGrant(
            trial=_TRIAL,
            artifact=_ARTIFACT,
            sealed=None,
            answers=AnswersTerms(
                limits=TrialLimits(
                    answers=400,
                    input_bytes=8 * 1024**2,
                    total_bytes=256 * 1024**2,
                    interval_ms=1000,
                    until_ms=TIME_MS,
                ),
                shown="top1",
                plan=PlanSteps(
                    right=-57_158, wrong=405_465, fail=2_890_372, pass_=-2_251_292, cap=400, k=348
                ),
                seal_salt=_t(32),
                seal_commit=_t(32),
                seller_nonce=_t(32),
                pass_price=EURO,
            ),
        )
    ),
    Trial1.of(
        TrialGrant(
            trial=_TRIAL,
            artifact=_ARTIFACT,
            sealed=SealedTerms(
                runs_max=50, until_ms=TIME_MS, certify=True, keys=Blob(_t(32), 4_136, _t(32))
            ),
            answers=None,
        )
    ),
    Trial1.of(TrialRefusal(trial=_TRIAL, reason="small_model", text="Ask me\nfor a Certificate.")),
    Trial1.of(TrialClose(trial=_TRIAL, n=176, last=_t(32))),
    Warranty1(
        order=None,
        grant=_t(32),
        seal_key=_t(32),
        answers=(_t(32), _t(32)),
        inputs=Blob(_t(32), 90_000, _t(32)),
        outputs=Blob(_t(32), 4_136, _t(32)),
        n=176,
        failing=5,
        isolation="full",
        runtime="onnxruntime 1.32.0 cpu",
        artifact=_ARTIFACT,
    ),
)

_ID = _b()
_NFD = "Lu\u0308beck"
_TOO_MANY_KEYS = [_low(_b()) for _ in range(65)]
_DEEP: list[Any] = []
for _ in range(40):
    _DEEP = [_DEEP]

# For each kind: what is changed, and what this shows.  Every change alone makes the Body void.
BROKEN: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "identity/1": (
        ("identity of 31 bytes", {"identity": bytes(31)}),
        ("root key 32", {"r": 32, "rotated_from": _ID}),
        ("a later root key that names no rotation", {"r": 1}),
        ("a first root key that names a rotation", {"rotated_from": _ID}),
        ("epoch below 0", {"epoch": -1}),
        ("box of 33 bytes", {"box": bytes(33)}),
    ),
    "revoke/1": (
        ("device of 31 bytes", {"device": bytes(31)}),
        ("reason is none of the four", {"reason": "bored"}),
        ("a last seq without its id", {"last_id": None}),
        ("an id for seq 0", {"last_seq": 0}),
        ("last seq beyond 2^31 - 1", {"last_seq": 2**31}),
        ("last seq is text", {"last_seq": "17"}),
        ("epoch 0", {"epoch": 0}),
        ("box of 31 bytes", {"box": bytes(31)}),
    ),
    "rotate/1": (
        ("root key 0", {"r": 0}),
        ("root key 32", {"r": 32}),
        ("root of 31 bytes", {"root": bytes(31)}),
        ("epoch 0", {"epoch": 0}),
        ("signature of 63 bytes", {"sig": bytes(63)}),
        ("257 devices", {"devices": [[i.to_bytes(32, "big"), None, None] for i in range(257)]}),
        ("a device named twice", {"devices": [[_ID, None, None], [_ID, 0, None]]}),
        ("a last seq without its id", {"devices": [[_ID, 7, None]]}),
        ("an id without a last seq", {"devices": [[_ID, None, _ID]]}),
        ("a device with two values", {"devices": [[_ID, None]]}),
    ),
    "device/1": (
        ("identity is text", {"identity": "A" * 43}),
        ("root of 33 bytes", {"root": bytes(33)}),
        ("root key 32", {"r": 32}),
        ("role is neither full nor mirror", {"role": "root"}),
        ("name of 41 characters", {"name": "n" * 41}),
        ("empty name", {"name": ""}),
        ("name with a newline", {"name": "two\nlines"}),
        ("name is not NFC", {"name": _NFD}),
        ("box of 31 bytes", {"box": bytes(31)}),
        ("signature of 65 bytes", {"sig": bytes(65)}),
    ),
    "profile/1": (
        ("name of 61 characters", {"name": "n" * 61}),
        ("empty name", {"name": ""}),
        ("name is not NFC", {"name": _NFD}),
        ("name with a tab", {"name": "Ada\tL"}),
        ("about of 2,001 characters", {"about": "a" * 2001}),
        ("about with a carriage return", {"about": "a\r\nb"}),
        ("four links", {"web": ["https://example.org/" + c for c in "abcd"]}),
        ("a link of 201 characters", {"web": ["w" * 201]}),
        ("contact of 201 characters", {"contact": "c" * 201}),
        ("nine sectors", {"sectors": list("abcdefghi")}),
        ("a sector named twice", {"sectors": ["retail", "retail"]}),
        ("a sector of 41 characters", {"sectors": ["s" * 41]}),
        ("avatar of 31 bytes", {"avatar": bytes(31)}),
        ("lang in capitals", {"lang": "ZH"}),
    ),
    "listing/1": (
        ("listing of 31 bytes", {"listing": bytes(31)}),
        ("title of 121 characters", {"title": "t" * 121}),
        ("title of two lines", {"title": "a\nb"}),
        ("summary of 501 characters", {"summary": "s" * 501}),
        ("text of 16,001 characters", {"text": "t" * 16_001}),
        ("text is not NFC", {"text": _NFD}),
        ("lang is no language", {"lang": "English"}),
        ("lang with a newline behind it", {"lang": "en\n"}),
        ("empty task", {"task": ""}),
        ("nine sectors", {"sectors": list("abcdefghi")}),
        ("17 tags", {"tags": [f"tag{i}" for i in range(17)]}),
        ("a tag named twice", {"tags": ["a", "a"]}),
        ("25 concepts", {"concepts": [f"c{i}" for i in range(25)]}),
        ("a trial that is none of the three", {"trials": ["free"]}),
        ("a trial named twice", {"trials": ["open", "open"]}),
        ("prefs nested 40 levels", {"prefs": {"deep": _DEEP}}),
        ("prefs of 1,001 values", {"prefs": {"many": [0] * 1000}}),
        ("prefs with text of 2,001 characters", {"prefs": {"long": "x" * 2001}}),
        ("prefs with a key of 41 characters", {"prefs": {"k" * 41: 1}}),
        ("prefs with text that is not NFC", {"prefs": {"name": _NFD}}),
        ("prefs is a list", {"prefs": []}),
        ("capacity 0", {"capacity": 0}),
        ("nine mediators", {"mediators": [bytes([i]) * 32 for i in range(9)]}),
        ("time below 0", {"valid_until": -1}),
        ("state is none of the three", {"state": "sold"}),
        ("nine media", {"media": [bytes([i]) * 32 for i in range(9)]}),
    ),
    "release/1": (
        ("listing is null", {"listing": None}),
        ("empty version", {"version": ""}),
        ("version of 41 characters", {"version": "1" * 41}),
        ("size 0", {"size": 0}),
        ("size above 1 TiB", {"size": 2**40 + 1}),
        ("no files", {"files": 0}),
        ("10,001 files", {"files": 10_001}),
        ("nine formats", {"formats": list("abcdefghi")}),
        ("a format of 21 characters", {"formats": ["f" * 21]}),
        ("edition is neither full nor trial", {"edition": "demo"}),
        ("a full edition of another", {"of": _ID}),
        ("a seal over another artifact", {"artifact": _ID}),
        ("nine tiers", {"tiers": [{} for _ in range(9)]}),
        ("a tier that is no map", {"tiers": [1]}),
        ("a tier with control characters", {"tiers": [{"name": "a\x00b"}]}),
        ("card of 31 bytes", {"card": bytes(31)}),
        ("nine bases", {"base": [bytes([i]) * 32 for i in range(9)]}),
        ("notes of 5,001 characters", {"notes": "n" * 5001}),
        ("supersedes of 31 bytes", {"supersedes": bytes(31)}),
    ),
    "price/1": (
        ("mode of a later version", {"mode": "auction"}),
        ("money as a bare integer", {"amount": 10_000}),
        ("money of two values", {"amount": [10_000, "EUR"]}),
        ("amount below 0", {"amount": LESS_THAN_NOTHING, "floor": 0}),
        ("amount beyond 2^62", {"amount": [2**62 + 1, "EUR", 2]}),
        ("currency in small letters", {"amount": [10_000, "eur", 2]}),
        ("currency of two letters", {"amount": [10_000, "EU", 2]}),
        ("currency of 13 letters", {"amount": [10_000, "E" * 13, 2]}),
        ("currency with a newline behind it", {"amount": [10_000, "EUR\n", 2]}),
        ("exponent 19", {"amount": [10_000, "EUR", 19]}),
        ("exponent below 0", {"amount": [10_000, "EUR", -1]}),
        ("base below the floor", {"floor": 10_001}),
        ("base above the ceiling", {"ceil": 9_999}),
        ("tick 0", {"tick": 0}),
        ("params is null", {"params": None}),
        ("params with an integer beyond 2^63 - 1", {"params": {"k": 2**63}}),
        ("17 anchors", {"anchors": [bytes([i]) * 32 for i in range(17)]}),
        ("an anchor named twice", {"anchors": [_ID, _ID]}),
    ),
    "epoch/1": (
        ("price of 31 bytes", {"price": bytes(31)}),
        ("epoch below 0", {"epoch": -1}),
        ("asked below 0", {"asked_milli": -1}),
        ("more paid than facts", {"paid": 4}),
        ("facts out of order", {"facts": [b"\x02" * 32, b"\x01" * 32]}),
        ("a fact named twice", {"facts": [_ID, _ID]}),
        ("513 facts", {"facts": [i.to_bytes(32, "big") for i in range(513)]}),
        ("amount below 0", {"amount": LESS_THAN_NOTHING}),
    ),
    "sale/1": (
        ("fact is empty", {"fact": b""}),
        ("fact of 1,025 bytes", {"fact": bytes(1025)}),
        ("fact is no sale fact", {"fact": encode([1, 2, 3])}),
        ("fact is not canonical", {"fact": b"\x18\x01"}),
        ("signature of 63 bytes", {"rating_sig": bytes(63)}),
    ),
    "cert/1": (
        ("empty envelope", {"envelope": b""}),
        ("envelope above 56 KiB", {"envelope": bytes(56 * 1024 + 1)}),
        ("artifact of 31 bytes", {"artifact": bytes(31)}),
        ("suite without a version", {"suite": "core"}),
        ("suite of 41 characters", {"suite": "c" * 35 + "/1.0.0"}),
        ("suite hash of 31 bytes", {"suite_sha256": bytes(31)}),
        ("a level below 0", {"level": -1}),
        ("level 4, which nobody signs", {"level": 4}),
        ("golden blob of size 0", {"golden": [_ID, 0, None]}),
        ("golden blob above 16 MiB", {"golden": [_ID, 16 * 2**20 + 1, None]}),
        ("golden blob that is private", {"golden": [_ID, 1, _ID]}),
        ("golden blob without a third value", {"golden": [_ID, 1]}),
        ("reproduces of 31 bytes", {"reproduces": bytes(31)}),
    ),
    "cert-revoke/1": (
        ("cert of 31 bytes", {"cert": bytes(31)}),
        ("reason is none of the five", {"reason": "regret"}),
        ("text of 501 characters", {"text": "t" * 501}),
        ("text is not NFC", {"text": _NFD}),
    ),
    "human-review/1": (
        ("release of 31 bytes", {"release": bytes(31)}),
        ("artifact of 33 bytes", {"artifact": bytes(33)}),
        ("seven points", {"points": [["yes", ""]] * 7}),
        ("nine points", {"points": [["yes", ""]] * 9}),
        ("an answer that is none of the three", {"points": [["maybe", ""]] * 8}),
        ("a note of 501 characters", {"points": [["no", "n" * 501]] * 8}),
        ("a note that is not NFC", {"points": [["no", _NFD]] * 8}),
        ("verdict is none of the three", {"verdict": "like"}),
        ("notes of 4,001 characters", {"notes": "n" * 4001}),
        ("conflict is none of the five", {"conflict": "friend"}),
        ("paid, and nobody who paid", {"paid_by": None}),
        ("somebody paid, and no conflict", {"conflict": "none"}),
        ("payer of 201 characters", {"paid_by": "p" * 201}),
        ("17 tried", {"tried": [bytes([i]) * 32 for i in range(17)]}),
        ("one tried named twice", {"tried": [_ID, _ID]}),
        ("supersedes of 31 bytes", {"supersedes": bytes(31)}),
    ),
    "demand/1": (
        ("demand of 31 bytes", {"demand": bytes(31)}),
        ("empty title", {"title": ""}),
        ("title of 121 characters", {"title": "t" * 121}),
        ("text of 5,001 characters", {"text": "t" * 5001}),
        ("task of 41 characters", {"task": "t" * 41}),
        ("nine sectors", {"sectors": list("abcdefghi")}),
        ("need nested 40 levels", {"need": {"deep": _DEEP}}),
        ("weight 101", {"weights": {"price": 101}}),
        ("weight of no factor", {"weights": {"colour": 1}}),
        ("amount below 0", {"amount": LESS_THAN_NOTHING}),
        ("time is null", {"valid_until": None}),
        ("state is none of the three", {"state": "done"}),
    ),
    "offer/1": (
        ("demand of 31 bytes", {"demand": bytes(31)}),
        ("listing is null", {"listing": None}),
        ("release of 31 bytes", {"release": bytes(31)}),
        ("amount below 0", {"amount": LESS_THAN_NOTHING}),
        ("time below 0", {"expires": -1}),
        ("note of 1,001 characters", {"note": "n" * 1001}),
    ),
    "review/1": (
        ("fact is no sale fact", {"fact": encode({})}),
        ("fact of 1,025 bytes", {"fact": bytes(1025)}),
        ("seller's signature of 63 bytes", {"seller_sig": bytes(63)}),
        ("claim signature of 65 bytes", {"claim_sig": bytes(65)}),
        ("receipt without nonce", {"nonce": None}),
        ("nonce without receipt", {"receipt": None}),
        ("nonce of 15 bytes", {"nonce": bytes(15)}),
        ("rating 0", {"rating": 0}),
        ("rating 11", {"rating": 11}),
        ("rating is true", {"rating": True}),
        ("an aspect rated 11", {"aspects": {"accuracy": 11}}),
        ("nine aspects", {"aspects": dict.fromkeys("abcdefghi", 1)}),
        ("an aspect in capital letters", {"aspects": {"Accuracy": 1}}),
        ("text of 5,001 characters", {"text": "t" * 5001}),
        ("withdraws nothing", {"withdrawn": True}),
        ("withdrawn is 0", {"withdrawn": 0}),
    ),
    "reply/1": (
        ("to of 31 bytes", {"to": bytes(31)}),
        ("empty text", {"text": ""}),
        ("text of 2,001 characters", {"text": "t" * 2001}),
    ),
    "label/1": (
        ("subject of 31 bytes", {"subject": bytes(31)}),
        ("empty scheme", {"scheme": ""}),
        ("scheme of 41 characters", {"scheme": "s" * 41}),
        ("value of 41 characters", {"value": "v" * 41}),
        ("value with a newline", {"value": "a\nb"}),
        ("negate is null", {"negate": None}),
        ("reason of 501 characters", {"reason": "r" * 501}),
        ("time below 0", {"expires": -1}),
    ),
    "follow/1": (
        ("identity of 31 bytes", {"identity": bytes(31)}),
        ("weight 2", {"weight": 2}),
        ("weight -1", {"weight": -1}),
        ("weight is true", {"weight": True}),
    ),
    "renew/1": (
        ("nothing renewed", {"of": []}),
        ("65 renewed", {"of": [i.to_bytes(32, "big") for i in range(65)]}),
        ("one renewed twice", {"of": [_ID, _ID]}),
        ("time below 0", {"until": -1}),
    ),
    "licence-revoke/1": (
        ("licence of 15 bytes", {"licence": bytes(15)}),
        ("unlock is null", {"unlock": None}),
        ("reason of 201 characters", {"reason": "r" * 201}),
    ),
    "mediator/1": (
        ("fee below 0", {"fee": LESS_THAN_NOTHING}),
        ("fee above the whole", {"fee_bp": 10_001}),
        ("fee share below 0", {"fee_bp": -1}),
        ("0 hours", {"hours": 0}),
        ("more hours than a year has", {"hours": 8761}),
        ("nine classes", {"classes": list("abcdefghi")}),
        ("a class of 21 characters", {"classes": ["c" * 21]}),
        ("a class named twice", {"classes": ["a", "a"]}),
        ("nine languages", {"langs": [f"a{c}" for c in "abcdefghi"]}),
        ("a language of one letter", {"langs": ["e"]}),
        ("nine rails", {"rails": list("abcdefghi")}),
        ("holds_keys is text", {"holds_keys": "yes"}),
        ("text of 2,001 characters", {"text": "t" * 2001}),
    ),
    "erase/1": (
        ("nothing erased", {"targets": []}),
        ("65 erased", {"targets": [i.to_bytes(32, "big") for i in range(65)]}),
        ("one erased twice", {"targets": [_ID, _ID]}),
        ("target of 31 bytes", {"targets": [bytes(31)]}),
        ("reason of 201 characters", {"reason": "r" * 201}),
    ),
    "witness/1": (
        ("no heads", {"heads": []}),
        ("501 heads", {"heads": [[i.to_bytes(32, "big"), 1, _ID] for i in range(501)]}),
        ("two heads of one feed", {"heads": [[_ID, 1, _ID], [_ID, 2, _ID]]}),
        ("heads out of order", {"heads": [[b"\2" * 32, 1, _ID], [b"\1" * 32, 1, _ID]]}),
        ("a head at seq 0", {"heads": [[_ID, 0, _ID]]}),
        ("a head without its id", {"heads": [[_ID, 1]]}),
    ),
    "fork/1": (
        ("empty proof", {"proof": b""}),
        ("proof of 2,049 bytes", {"proof": bytes(2049)}),
        ("proof is text", {"proof": "AAAA"}),
    ),
    "fault/1": (
        ("empty evidence", {"evidence": b""}),
        ("evidence above 56 KiB", {"evidence": bytes(56 * 1024 + 1)}),
        ("evidence is null", {"evidence": None}),
    ),
    "disclose/1": (
        ("entry of 31 bytes", {"entry": bytes(31)}),
        ("key of 33 bytes", {"key": bytes(33)}),
        ("key is null", {"key": None}),
    ),
    "private/1": (
        ("commitment of 31 bytes", {"commit": bytes(31)}),
        ("nothing sealed", {"ct": b""}),
        ("ciphertext between two paddings", {"ct": bytes(1065)}),
        ("padding alone is missing", {"ct": bytes(40)}),
        ("ciphertext above the largest", {"ct": bytes(40 + 62 * 1024)}),
        ("three slots", {"to": [bytes(80)] * 3}),
        ("sixteen slots", {"to": [bytes(80)] * 16}),
        ("a slot of 79 bytes", {"to": [bytes(80), bytes(79)]}),
        ("a salt, which a sealed body has not", {"salt": bytes(16)}),
    ),
    "receipt/1": (
        ("licence of 31 bytes", {"licence": bytes(31)}),
        ("one slot", {"to": [bytes(80)]}),
        ("ciphertext between two paddings", {"ct": bytes(1063)}),
        ("a salt, which a sealed body has not", {"salt": bytes(16)}),
    ),
    "ruling/1": (
        ("no slots", {"to": []}),
        ("ciphertext between two paddings", {"ct": bytes(1063)}),
        ("a salt, which a sealed body has not", {"salt": bytes(16)}),
    ),
}


def plain(body: Body) -> dict[str, Any]:
    """Return the map that ``body`` is on the wire."""
    value: dict[str, Any] = _listed(msgspec.to_builtins(body, builtin_types=(bytes,)))
    return value


def _listed(value: Any) -> Any:
    match value:
        case list() | tuple():
            return [_listed(item) for item in value]
        case dict():
            return {key: _listed(item) for key, item in value.items()}
        case _:
            return value


def readable(value: object) -> object:
    """Return ``value`` as JSON can say it: bytes as ``{"bytes": hex}``."""
    match value:
        case bytes():
            return {"bytes": value.hex()}
        case list() | tuple():
            return [readable(item) for item in value]
        case dict():
            return {key: readable(item) for key, item in value.items()}
        case _:
            return value


def swap_first_keys(raw: bytes, fields: dict[str, Any]) -> bytes:
    """Return the map ``raw`` with its first two keys, and their values, the other way round."""
    first, second = sorted(fields, key=lambda key: (len(key), key))[:2]
    items = [dag_cbor.encode(key) + dag_cbor.encode(fields[key]) for key in (first, second)]
    assert raw[1:].startswith(items[0] + items[1])
    return raw[:1] + items[1] + items[0] + raw[1 + len(items[0]) + len(items[1]) :]


def invalid(kind: str, body: Body) -> list[tuple[str, str, bytes]]:
    """Return note, reason and bytes of every broken form of ``body``."""
    fields = plain(body)
    raw = dag_cbor.encode(fields)
    rows = [
        ("a byte follows", "not_canonical", raw + b"\x00"),
        ("the last byte is missing", "not_canonical", raw[:-1]),
        ("the map's length is not in its shortest form", "not_canonical", _long_head(raw)),
        ("the map has no fixed length", "not_canonical", b"\xbf" + raw[1:] + b"\xff"),
        ("keys out of order", "not_canonical", swap_first_keys(raw, fields)),
        ("an unknown field", "bad_shape", dag_cbor.encode(fields | {"zzz": None})),
        ("a list instead of a map", "bad_shape", dag_cbor.encode(list(fields.values()))),
    ]
    rows += [
        (
            f"{name} is missing",
            "bad_shape",
            dag_cbor.encode({k: v for k, v in fields.items() if k != name}),
        )
        for name in fields
    ]
    rows += [(note, "bad_shape", dag_cbor.encode(fields | change)) for note, change in BROKEN[kind]]
    return rows


def _long_head(raw: bytes) -> bytes:
    assert 0xA0 <= raw[0] <= 0xB7
    return bytes((0xB8, raw[0] - 0xA0)) + raw[1:]


def document() -> str:
    """Return the text of ``kinds.json``."""
    rows = [
        {
            "kind": kind,
            "valid": {"hex": dag_cbor.encode(plain(body)).hex(), "value": readable(plain(body))},
            "invalid": [
                {"note": note, "reason": reason, "hex": raw.hex()}
                for note, reason, raw in invalid(kind, body)
            ],
        }
        for kind, body in zip(KINDS, VALID, strict=True)
    ]
    about = "Bodies in canonical DAG-CBOR; reason is the one a program refuses the bytes with."
    return json.dumps({"about": about, "kinds": rows}, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
