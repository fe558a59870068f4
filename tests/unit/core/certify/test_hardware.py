"""This machine, as far as figures need it."""

from __future__ import annotations

import dataclasses
import os
import platform
import re
import socket

import psutil
import pytest

from hanse.core.certify.hardware import (
    load_average_centi,
    probe_hardware,
    same_class,
    tier_of,
)


@pytest.fixture(scope="module")
def machine():
    return probe_hardware()


def test_the_class_is_tier_and_cores(machine):
    assert machine.machine_class == f"{machine.tier}/{machine.cores}c"
    assert 1 <= machine.cores <= (psutil.cpu_count() or 1)
    assert abs(machine.ram_gib - psutil.virtual_memory().total / 1024**3) <= 1


def test_the_system_is_named_by_its_minor_version(machine):
    assert re.fullmatch(r"[a-z]+ \d+(\.\d+)?", machine.os)
    assert platform.release().startswith(machine.os.split()[1])


def test_nothing_tells_this_machine_from_others_like_it(machine):
    said = repr(machine)
    assert socket.gethostname() not in said
    assert platform.release() not in said
    assert all(one.isprintable() for one in machine.cpu)


@pytest.mark.parametrize(
    ("architecture", "generic", "features", "tier"),
    [
        ("x86_64", "x86_64", set(), "x86_64"),
        ("x86_64", "x86_64_v3", {"avx2"}, "x86_64-v3"),
        ("x86_64", "x86_64_v4", {"avx512_vnni"}, "x86_64-v4+vnni"),
        ("x86_64", "x86_64_v3", {"avx_vnni"}, "x86_64-v3+vnni"),
        ("arm64", "aarch64", set(), "arm64"),
        ("arm64", "armv8.6a", {"i8mm"}, "arm64+i8mm"),
        ("riscv64", "riscv64", set(), "riscv64"),
    ],
)
def test_the_tier_is_what_the_instructions_allow(architecture, generic, features, tier):
    assert tier_of(architecture, generic, features) == tier


@pytest.mark.parametrize(
    ("tier", "cores", "is_same"),
    [
        *(("t", 4, True), ("t", 8, True), ("t", 2, True)),
        *(("t", 9, False), ("t", 1, False), ("other", 4, False)),
    ],
)
def test_machines_compare_within_a_factor_of_two(machine, tier, cores, is_same):
    one = dataclasses.replace(machine, tier="t", cores=4)
    assert same_class(one, dataclasses.replace(one, tier=tier, cores=cores)) is is_same


def test_the_load_is_in_hundredths():
    before = os.getloadavg()[0] * 100
    assert abs(load_average_centi() - before) <= 50
