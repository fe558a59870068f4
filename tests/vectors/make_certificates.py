"""Writes ``certificates.json``: suites, envelopes, whole files, and every step broken once.

Run as ``python -m tests.vectors.make_certificates``.  Of the program only the signature of
Entries is used, by ``pen``: payloads are sorted ``json.dumps``, DSSE is written out word for
word, its signatures are PyNaCl's, inclusion paths follow the definition of RFC 6962.
"""

from __future__ import annotations

import base64
import copy
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import dag_cbor
from nacl.signing import SigningKey

from hanse.core.crypto.signing import Signer
from tests.vectors.pen import MINUTE_MS, START_MS, Pen, World, Written, tree_root

FILE = Path(__file__).with_name("certificates.json")
NOW_MS = START_MS + 1000 * MINUTE_MS
SEED = sha256(b"hanse/vectors/certificates/1/device").digest()
KEY = SigningKey(SEED)
DEVICE = bytes(KEY.verify_key)
TYPE = "application/vnd.in-toto+json"
MODEL = sha256(b"model.onnx").hexdigest()
ARTIFACT = sha256(b"manifest").hexdigest()
IDS = {
    1: ("format.hashes", "onnx.checker"),
    2: ("run.load", "run.golden"),
    3: ("measure.latency", "measure.load", "measure.memory", "det.repeat", "quality.*"),
}
METRIC = "quality.accuracy"


def canonical(value: object) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def suite(version: str = "1.0.0", **changes: Any) -> bytes:
    bounds = {"wall_s": 60, "cpu_s": 60}
    checks = [
        {"id": one, "level": level, "params": {}, "bounds": bounds}
        for level, ids in IDS.items()
        for one in ids
    ]
    return canonical({"id": "vectors", "version": version, "checks": checks} | changes)


SUITE = {"id": "vectors", "version": "1.0.0", "sha256": sha256(suite()).hexdigest()}


def results(**changes: str) -> list[dict[str, Any]]:
    """Every check with ``pass``; ``changes`` by the last part of a check's name."""
    ids = [METRIC if one == "quality.*" else one for level in IDS.values() for one in level]
    rows = []
    for one in ids:
        result = changes.get(one.partition(".")[2], "pass")
        rows.append(
            {"id": one, "result": result, "reason": "", "values": {}, "detail": "", "ms": 7}
        )
    return rows


def statement(checks: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    checks = results() if checks is None else checks
    named = {
        word: [one["id"] for one in checks if one["result"] == word]
        for word in ("pass", "warn", "fail")
    }
    outcome = "FAILED" if named["fail"] else "WARNED" if named["warn"] else "PASSED"
    predicate = {
        "artifact": {"id": ARTIFACT, "files": 1, "size": 26143, "made_from": None},
        "role": "tester",
        "release": None,
        "grant": None,
        "supersedes": None,
        "level": 3,
        "suite": SUITE,
        "test": {
            "result": outcome,
            "configuration": [{"name": "vectors/1.0.0", "digest": {"sha256": SUITE["sha256"]}}],
            "passedTests": named["pass"],
            "warnedTests": named["warn"],
            "failedTests": named["fail"],
        },
        "checks": checks,
        "isolation": {
            "grade": "full",
            "os": "linux 6.18",
            "limits": {"as_mib": 2048, "cpu_s": 600},
            "layers": ["no_new_privs", "rlimits", "landlock:7:fs+tcp+scope", "seccomp:allow/1"],
        },
        "runtime": {
            "name": "onnxruntime",
            "version": "1.31.1",
            "provider": "cpu",
            "graph_opt": "all",
            "app": "0",
        },
        "machine": {
            "class": "x86_64-v4+vnni/2c",
            "arch": "x86_64",
            "cpu": 'a "fast" CPU, 快',
            "cores": 2,
            "ram_gib": 24,
            "os": "linux 6.18",
        },
        "golden": {
            "sha256": sha256(b"golden").hexdigest(),
            "size": 81920,
            "n": 24,
            "rtol": "0.0001",
            "atol": "0.00001",
        },
        "perf": [
            {
                "batch": 1,
                "threads": 1,
                "n": 3000,
                "min": 30786,
                "p10": 30900,
                "p50": 31767,
                "p90": 34612,
                "p99": 40000,
                "mad": 210,
                "blocks": [31700, 31767, 31810],
                "noisy": False,
                "load": ["0.12", None],
            }
        ],
        "memory": {
            "base_kib": 56320,
            "loaded_kib": 77824,
            "peak_kib": 79872,
            "load_ns": 21000000,
        },
        "quality": [
            {
                "dataset": {
                    "name": "digits",
                    "sha256": sha256(b"digits").hexdigest(),
                    "n": 1797,
                    "public": True,
                },
                "recipe": sha256(b"recipe").hexdigest(),
                "metric": "accuracy",
                "value": "0.874000",
                "ci95": ["0.858000", "0.888000"],
                "method": "wilson",
                "slice": "",
            }
        ],
        "determinism": {"repeat": "bitwise", "session": "tolerance", "threads": "not_measured"},
        "parity": None,
        "reproduces": None,
        "started": "2026-11-22T08:00:00Z",
        "finished": "2026-11-22T08:01:10.250Z",
        "nonce": sha256(b"nonce").hexdigest()[:32],
    }
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": "urn:hanse:certificate:v1",
        "subject": [{"name": "model.onnx", "digest": {"sha256": MODEL}}],
        "predicate": predicate | changes,
    }


def envelope(payload: bytes, key: SigningKey = KEY, kind: str = TYPE) -> bytes:
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    return canonical(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": kind,
            "signatures": [
                {
                    "keyid": sha256(bytes(key.verify_key)).hexdigest(),
                    "sig": base64.b64encode(key.sign(signed).signature).decode(),
                }
            ],
        }
    )


def body(raw: bytes, **changes: Any) -> dict[str, Any]:
    golden = [sha256(b"golden").digest(), 81920, None]
    return {
        "salt": sha256(raw).digest()[:16],
        "envelope": raw,
        "artifact": bytes.fromhex(ARTIFACT),
        "suite": "vectors/1.0.0",
        "suite_sha256": bytes.fromhex(SUITE["sha256"]),
        "level": 3,
        "golden": golden,
        "reproduces": None,
    } | changes


def suites() -> list[dict[str, Any]]:
    def row(note: str, raw: bytes, reason: str | None = None) -> dict[str, Any]:
        if reason is not None:
            return {"note": note, "hex": raw.hex(), "reason": reason}
        digest = sha256(raw).hexdigest()
        return {"note": note, "hex": raw.hex(), "sha256": digest, "name": "vectors/1.0.0"}

    return [
        row("the suite of the other vectors", suite()),
        row("a version of two numbers", suite("1.0"), "suite.bad"),
        row("a field nobody knows", suite(colour=1), "suite.bad"),
        row("no checks", suite(checks=[]), "suite.bad"),
    ]


def statements() -> list[dict[str, Any]]:
    whole = statement()
    raw = canonical(whole)
    good = envelope(raw)

    def row(note: str, sent: bytes, reason: str | None = None, **more: Any) -> dict[str, Any]:
        found = {"note": note, "envelope": sent.decode(), "device": DEVICE.hex()} | more
        return found if reason is None else found | {"reason": reason}

    def holds(note: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
        predicate = value["predicate"]
        facts = {
            "artifact": ARTIFACT,
            "suite": "vectors/1.0.0",
            "level": predicate["level"],
            "outcome": predicate["test"]["result"],
        }
        return row(note, envelope(canonical(value)), **facts, **more)

    def signed(note: str, reason: str, value: dict[str, Any]) -> dict[str, Any]:
        return row(note, envelope(canonical(value)), reason)

    def altered(**changes: Any) -> bytes:
        return canonical(json.loads(good) | changes)

    higher = copy.deepcopy(whole)
    higher["predicate"]["level"] = 2
    own = [{"name": "copy.onnx", "sha256": MODEL}]
    other = [{"name": "model.onnx", "sha256": sha256(b"other").hexdigest()}]
    perf = whole["predicate"]["perf"][0]
    memory_failed = results(memory="fail")
    spaced = json.dumps(json.loads(good), indent=1).encode()
    twice = raw.replace(b'"level":3', b'"level":3,"level":3')
    whole_body = dag_cbor.encode(body(good)).hex()
    odd_level = copy.deepcopy(whole)
    odd_level["predicate"]["extra"] = 1
    facts = holds("", whole)
    return [
        holds("Level 3", whole, payload=raw.hex()),
        holds("with the index of its Body", whole, body=whole_body),
        holds("for this file, whatever its name", whole, files=own),
        holds("a check that failed", statement(memory_failed, level=2)),
        holds("less than its checks allow", statement(level=1)),
        row("with spaces in the envelope", spaced, **{
            name: facts[name] for name in ("artifact", "suite", "level", "outcome")}),
        row("another payload", altered(payload=base64.b64encode(canonical(higher)).decode()),
            "signature"),
        row("another key", envelope(raw, SigningKey(bytes(32))), "signature"),
        row("another type, though signed", envelope(raw, kind="application/json"),
            "payload_type"),
        row("a field nobody knows in the envelope", altered(extra=1), "json"),
        row("a key of the payload twice, though signed", envelope(twice), "json"),
        row("a space in the payload, though signed", envelope(raw.replace(b",", b", ", 1)),
            "json"),
        row("a number with a fraction", envelope(raw.replace(b'"level":3', b'"level":3.0')),
            "json"),
        signed("a field nobody knows", "shape", odd_level),
        signed("Level 4", "shape", statement(level=4)),
        signed("a decimal with another number of digits", "shape",
               statement(golden=whole["predicate"]["golden"] | {"rtol": "0.00010"})),
        row("an index with another Level", good, "index",
            body=dag_cbor.encode(body(good, level=2)).hex()),
        row("an index with another Artifact", good, "index",
            body=dag_cbor.encode(body(good, artifact=bytes(32))).hex()),
        signed("a Level above what the checks allow", "consistent", statement(memory_failed)),
        signed("p10 above p50", "consistent", statement(perf=[perf | {"p10": 32000}])),
        signed("a result that does not follow", "consistent", statement(
            test=whole["predicate"]["test"] | {"result": "FAILED"})),
        signed("an unknown suite", "suite", statement(
            suite=SUITE | {"sha256": "0" * 64},
            test=whole["predicate"]["test"] | {
                "configuration": [{"name": "vectors/1.0.0", "digest": {"sha256": "0" * 64}}]})),
        row("for another file", good, "subjects", files=other),
    ]  # fmt: skip


def inclusion_path(ids: list[bytes], index: int) -> list[bytes]:
    """PATH(m, D) of RFC 6962, section 2.1.1."""
    if len(ids) == 1:
        return []
    split = 1 << ((len(ids) - 1).bit_length() - 1)
    if index < split:
        return [*inclusion_path(ids[:split], index), tree_root(ids[split:])]
    return [*inclusion_path(ids[split:], index - split), tree_root(ids[:split])]


def part(entry: Written) -> dict[str, str]:
    parts = {"header": entry.header, "signature": entry.signature, "body": entry.body or b""}
    return {name: base64.b64encode(raw).decode() for name, raw in parts.items()}


class Story:
    """A tester's Device, its Certificate at seq 2, and two Entries after it."""

    def __init__(self) -> None:
        self.world = World("certificates")
        self.pen = self.device()
        self.raw = envelope(canonical(statement()))
        self.cert = self.pen.write("cert/1", body(self.raw))
        for name in ("Ada", "Ada L."):
            self.pen.write("profile/1", self.pen.profile(name))

    def device(self) -> Pen:
        pen = self.world.pen(Signer.from_seed(SEED))
        pen.write("device/1", self.world.device_body(pen))
        return pen

    def inclusion(self) -> bytes:
        later = self.pen.entries[-1]
        ids = [one.id for one in self.pen.entries[: later.seq - 1]]
        path = inclusion_path(ids, self.cert.seq - 1)
        sent = (self.cert.header, self.cert.signature, later.header, later.signature)
        return b"HANSEPROOF\x01" + dag_cbor.encode([1, *sent, path])

    def file(self, **changes: Any) -> dict[str, Any]:
        return {
            "hanse_cert": 1,
            "envelope": json.loads(self.raw),
            "device": DEVICE.hex(),
            "entry": part(self.cert),
            "delegation": part(self.pen.entries[0]),
            "roots": [part(one) for one in self.world.root.entries],
            "inclusion": base64.b64encode(self.inclusion()).decode(),
        } | changes


def cert_files() -> list[dict[str, Any]]:
    story = Story()

    def row(note: str, value: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        raw = json.dumps(value, separators=(",", ":"))
        found: dict[str, Any] = {"note": note, "file": raw, "now_ms": NOW_MS}
        if reason is not None:
            return found | {"reason": reason}
        return found | {
            "identity": story.world.identity.hex(),
            "entry": story.cert.id.hex(),
            "level": 3,
            "later_seq": 0 if value["inclusion"] is None else 4,
        }

    revoked = story.world.root.draft("revoke/1", story.world.revoke(story.pen, 1))
    lowered = json.loads(story.raw)
    lowered["payload"] = base64.b64encode(canonical(statement(level=2))).decode()
    return [
        row("whole", story.file()),
        row("nothing followed it yet", story.file(inclusion=None)),
        row("an envelope that is not the signed one", story.file(envelope=lowered), "signature"),
        row("another Device named", story.file(device="0" * 64), "signature"),
        row("cut off before", story.file(
            roots=[*story.file()["roots"], part(revoked)]), "delegation"),
        row("without its root feed", story.file(roots=[]), "json"),
    ]  # fmt: skip


def verdicts() -> list[dict[str, Any]]:
    rows = (
        (0, 0, "not_comparable"),
        (24, 0, "agree"),
        (24, 1, "differ"),
        (99, 1, "differ"),
        (100, 1, "agree"),
        (100, 2, "differ"),
        (250, 2, "agree"),
        (250, 3, "differ"),
    )
    return [
        {"note": f"{failing} of {n}", "compared": n, "failing": failing, "verdict": verdict}
        for n, failing, verdict in rows
    ]


def document() -> str:
    """Return the text of ``certificates.json``."""
    content = {
        "about": "Certificates: in-toto Statements in DSSE envelopes, and the files of them.",
        "suites": suites(),
        "statements": statements(),
        "cert_files": cert_files(),
        "verdicts": verdicts(),
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
