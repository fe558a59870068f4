"""A Worker that misbehaves: ``python stand_in.py HOW``, in the place of the real one."""

from __future__ import annotations

import os
import signal
import struct
import sys
import threading

import msgspec

READY = {"type": "ready", "layers": [], "grade": "full", "versions": {}}
REFUSAL = {"type": "err", "kind": "crash", "word": "", "values": {}, "message": "memory"}
FACTS = {"format": "onnx", "file": "m.onnx"}


def take() -> dict:
    head = sys.stdin.buffer.read(4)
    if len(head) < 4:
        sys.exit(0)
    return msgspec.msgpack.decode(sys.stdin.buffer.read(int.from_bytes(head, "little")))


def raw(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def give(answer: dict) -> None:
    body = msgspec.msgpack.encode(answer)
    raw(struct.pack("<I", len(body)) + body)


def for_ever() -> None:
    threading.Event().wait()


def at_start(how: str) -> None:
    match how:
        case "silent_at_start":
            for_ever()
        case "ends_at_start":
            sys.stderr.write("no library\n")
            sys.exit(3)
        case "cannot_lock":
            sys.stderr.write("no sandbox: landlock: this kernel has none\n")
            sys.exit(70)
        case "cannot_lock_wordless":
            sys.exit(70)
        case "first_an_answer":
            give({"type": "facts", "id": 0, "facts": FACTS})
        case "not_messagepack":
            raw(struct.pack("<I", 4) + b"\xc1\xc1\xc1\xc1")
        case "unknown_frame":
            give({"type": "gift", "id": 1})
        case "unknown_field":
            give({**READY, "secret": 1})


def at_request(how: str, number: int) -> None:
    sound = {"type": "facts", "id": number, "facts": FACTS}
    match how:
        case "long_frame":
            raw(struct.pack("<I", 2**31) + b"x" * 1000)
        case "wrong_number":
            give({**sound, "id": number + 7})
        case "wrong_file":
            give({**sound, "facts": {**FACTS, "file": "other.onnx"}})
        case "wrong_format":
            give({**sound, "facts": {**FACTS, "format": "gguf"}})
        case "wrong_sizes":
            give({**sound, "facts": {**FACTS, "parameters": -1}})
        case "too_many_words":
            give({**sound, "facts": {**FACTS, "metadata": {str(n): "" for n in range(2000)}}})
        case "ready_again":
            give(READY)
        case "made_instead":
            give(
                {
                    "type": "err",
                    "id": number + 1,
                    "kind": "crash",
                    "word": "",
                    "values": {},
                    "message": "",
                }
            )
        case "ends_in_frame":
            raw(struct.pack("<I", 100) + b"x")
            sys.exit(0)
        case "ends":
            sys.exit(5)
        case "segmentation_fault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "too_much_time":
            os.kill(os.getpid(), signal.SIGXCPU)
        case "aborts_for_memory":
            sys.stderr.write("memory allocation of 4096 bytes failed\nnote: run with\n")
            os.abort()
        case "silent":
            for_ever()
        case "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            for_ever()
        case "floods_errors":
            while True:
                os.write(2, b"e" * 65536)
        case "floods_answers":
            while True:
                give(READY)
        case "with_a_child":
            if os.fork() == 0:
                os.execvp("sleep", ["sleep", "3600"])
            for_ever()
        case "claims_memory":
            give(
                {
                    "type": "err",
                    "id": number,
                    "kind": "limit",
                    "word": "",
                    "values": {},
                    "message": "memory",
                }
            )
        case _:
            give(sound)


def main() -> None:
    how = sys.argv[1]
    take()
    at_start(how)
    give(READY)
    while True:
        request = take()
        at_request(how, request["id"])


if __name__ == "__main__":
    main()
