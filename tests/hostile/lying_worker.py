"""A Worker that loads a model soundly and then lies: ``python lying_worker.py HOW``."""

from __future__ import annotations

import os
import struct
import sys
import threading

import msgspec

READY = {"type": "ready", "layers": ["lies"], "grade": "full", "versions": {}}
X = {"name": "x", "dtype": "float32", "shape": ["n", 3]}
Y = {"name": "y", "dtype": "float32", "shape": ["n", 3]}
LOADED = {
    "type": "loaded",
    "inputs": [X],
    "outputs": [Y],
    "load_ns": 1,
    "base_rss_bytes": 1,
    "rss_bytes": 1,
    "runtime": "onnxruntime",
    "version": "1",
    "provider": "cpu",
    "optimisation": "all",
}


def take() -> dict:
    head = sys.stdin.buffer.read(4)
    if len(head) < 4:
        sys.exit(0)
    return msgspec.msgpack.decode(sys.stdin.buffer.read(int.from_bytes(head, "little")))


def raw(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def give(**answer: object) -> None:
    body = msgspec.msgpack.encode(answer)
    raw(struct.pack("<I", len(body)) + body)


def floats(rows: int, *, value: float = 0.0) -> dict:
    return {"dtype": "float32", "shape": [rows, 3], "data": struct.pack("<f", value) * 3 * rows}


def times(*ns: int) -> dict:
    return {"dtype": "int64", "shape": [len(ns)], "data": struct.pack(f"<{len(ns)}q", *ns)}


def ready(how: str) -> dict:
    match how:
        case "ready_without_lock":
            return {**READY, "grade": "none"}
        case "ready_with_unknown_grade":
            return {**READY, "grade": "best"}
    return READY


def loaded(how: str) -> dict:
    match how:
        case "load_two_names":
            return {**LOADED, "outputs": [Y, Y]}
        case "load_odd_name":
            return {**LOADED, "inputs": [{**X, "name": "x\x1b[2J"}]}
        case "load_negative_dimension":
            return {**LOADED, "inputs": [{**X, "shape": [-1]}]}
        case "load_many_dimensions":
            return {**LOADED, "inputs": [{**X, "shape": [1] * 33}]}
        case "load_too_long":
            return {**LOADED, "load_ns": 10**15}
        case "load_in_no_time":
            return {**LOADED, "load_ns": 0}
        case "load_other_optimisation":
            return {**LOADED, "optimisation": "off"}
        case "load_other_runtime":
            return {**LOADED, "runtime": "pickle"}
    return LOADED


OUTPUTS = {
    "run_other_name": {"z": floats(1)},
    "run_more": {"y": floats(1), "z": floats(1)},
    "run_nothing": {},
    "run_object": {"y": {"dtype": "object", "shape": [1], "data": b"\x80\x04N."}},
    "run_other_dtype": {"y": {"dtype": "int32", "shape": [1, 3], "data": bytes(12)}},
    "run_short": {"y": {"dtype": "float32", "shape": [2, 3], "data": bytes(12)}},
    "run_long": {"y": {"dtype": "float32", "shape": [1, 3], "data": bytes(16)}},
    "run_huge_shape": {"y": {"dtype": "float32", "shape": [2**40, 2**40], "data": b""}},
    "run_huge_empty": {"y": {"dtype": "float32", "shape": [0, 2**62, 2**62], "data": b""}},
    "run_many_dimensions": {"y": {"dtype": "float32", "shape": [1] * 33, "data": bytes(4)}},
    "run_negative": {"y": {"dtype": "float32", "shape": [-1, -3], "data": bytes(12)}},
    "run_text_for_numbers": {"y": {"dtype": "float32", "shape": [1, 3], "data": "a" * 12}},
    "run_list_for_numbers": {"y": {"dtype": "float32", "shape": [1], "data": ["a"]}},
    "run_wide_text": {
        "y": {"dtype": "string", "shape": [10_000], "data": ["x" * 100_000, *[""] * 9_999]}
    },
    "run_many_texts": {"y": {"dtype": "string", "shape": [2**20 + 1], "data": [""] * (2**20 + 1)}},
    "run_few_texts": {"y": {"dtype": "string", "shape": [3], "data": ["a"]}},
    "run_no_truth": {"y": {"dtype": "bool", "shape": [1], "data": b"\x02"}},
}
TIMES = {
    "bench_zero": times(5, 0, 5),
    "bench_negative": times(5, -5, 5),
    "bench_longer_than_the_wall": times(*[10**12] * 20),
    "bench_overflowing": times(*[2**62] * 20),
    "bench_none": times(),
    "bench_too_few": times(5),
    "bench_too_many": times(*[1] * 1000),
    "bench_floats": {"dtype": "float64", "shape": [3], "data": struct.pack("<3d", 5, 5, 5)},
    "bench_nan": {"dtype": "float64", "shape": [1], "data": struct.pack("<d", float("nan"))},
    "bench_table": {"dtype": "int64", "shape": [1, 20], "data": struct.pack("<20q", *[5] * 20)},
}


def part(number: int, rows: int, *, said: int | None = None, width: int = 3) -> None:
    tensor = {"dtype": "float32", "shape": [rows, width], "data": bytes(4 * rows * width)}
    give(type="part", id=number, rows=rows if said is None else said, outputs={"y": tensor})


def evaluated(how: str, number: int, rows: int) -> None:
    match how:
        case "rows_missing":
            part(number, rows - 1)
        case "rows_too_many":
            part(number, rows)
            part(number, 1)
        case "rows_miscounted":
            part(number, rows, said=rows - 1)
        case "rows_none":
            part(number, 0)
        case "rows_of_two_widths":
            part(number, 1)
            part(number, rows - 1, width=4)
        case "rows_of_another":
            part(number + 1, rows)
        case "rows_for_ever":
            while True:
                part(number, 1, said=0)
        case _:
            part(number, rows)
    last = {"y": floats(rows)} if how == "rows_again_at_the_end" else {}
    give(type="out", id=number, ns=10**15 if how == "rows_too_long" else 1, outputs=last)


def benched(how: str, number: int) -> None:
    more = {"warmup_runs": 0, "is_stable": True, "cpu_ns": 1, "rss_bytes": 1}
    if how == "bench_warm_for_ever":
        more["warmup_runs"] = 10**6
    if how == "bench_much_processor":
        more["cpu_ns"] = 10**18
    if how == "bench_negative_memory":
        more["rss_bytes"] = -1
    give(type="lat", id=number, ns=TIMES.get(how, times(*[5] * 20)), **more)


def pictured(how: str, number: int, asked: dict) -> None:
    shape = [len(asked["files"]), asked["height"] or 4, asked["width"] or 4, asked["channels"]]
    dtype, size = "uint8", 1
    match how:
        case "pixels_fewer":
            shape[0] -= 1
        case "pixels_other_size":
            shape[1] += 1
        case "pixels_other_channels":
            shape[3] = 4
        case "pixels_flat":
            shape = [shape[0]]
        case "pixels_floats":
            dtype, size = "float32", 4
    count = size
    for one in shape:
        count *= one
    give(type="pixels", id=number, pixels={"dtype": dtype, "shape": shape, "data": bytes(count)})


def at_run(how: str, number: int) -> None:
    sound = {"type": "out", "id": number, "ns": 1, "outputs": {"y": floats(1)}}
    match how:
        case "run_long_frame":
            raw(struct.pack("<I", 64 * 1024**2 + 1) + b"x")
            threading.Event().wait()
        case "run_ready_again":
            give(**READY)
        case "run_unknown":
            give(type="gift", id=number)
        case "run_part":
            part(number, 1)
        case "run_ends_in_frame":
            raw(struct.pack("<I", 1000) + b"x")
            sys.exit(0)
        case "run_in_no_time":
            give(**{**sound, "ns": 0})
        case "run_too_long":
            give(**{**sound, "ns": 10**15})
        case "run_floods_errors":
            while True:
                os.write(2, b"e" * 65536)
        case "run_speaks_in_colours":
            refusal = {"kind": "refused", "word": "", "values": {}, "message": "\x1b[2Jno\nway"}
            give(type="err", id=number, **refusal)
        case "run_nan":
            give(**{**sound, "outputs": {"y": floats(1, value=float("nan"))}})
        case "silent":
            threading.Event().wait()
        case _:
            give(**{**sound, "outputs": OUTPUTS.get(how, sound["outputs"])})


def main() -> None:
    how = sys.argv[1]
    take()
    give(**ready(how))
    if how == "deaf":
        threading.Event().wait()
    if how == "sips":
        while os.read(0, 64):
            threading.Event().wait(0.05)
    while True:
        asked = take()
        number = asked["id"]
        match asked["type"]:
            case "load":
                give(**{**loaded(how), "id": number})
            case "put":
                size = asked["offset"] + len(asked["data"]) + (how == "put_more")
                give(type="ok", id=number, size=size)
            case "run":
                at_run(how, number)
            case "evaluate":
                evaluated(how, number, asked["inputs"]["x"]["shape"][0])
            case "bench":
                benched(how, number)
            case "pictures":
                pictured(how, number, asked)


if __name__ == "__main__":
    main()
