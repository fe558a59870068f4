"""Who is let in, counted by the place he comes from."""

from __future__ import annotations

import pytest

from hanse.core.model.ids import AuthorKey
from hanse.network.transport.gate import Gate, is_near

FAR, FAR6, NEAR = "203.0.113.7", "2001:db8:1:2::", "192.168.1.4"


def test_eight_come_in_from_one_address_and_one_more_when_one_has_left() -> None:
    gate = Gate()
    assert [gate.enter(FAR) for _ in range(9)] == [True] * 8 + [False]
    assert gate.enter("203.0.113.8")
    gate.leave(FAR)
    assert gate.enter(FAR)
    assert not gate.enter(FAR)
    assert (gate.inside, gate.refused) == (9, 2)


def test_one_network_of_version_six_is_one_place() -> None:
    gate = Gate()
    assert all(gate.enter(f"{FAR6}{number}") for number in range(1, 9))
    assert not gate.enter(f"{FAR6}ffff")
    assert gate.enter("2001:db8:1:3::1")


def test_mapped_address_is_the_one_it_maps() -> None:
    gate = Gate(per_address=1)
    assert gate.enter(FAR)
    assert not gate.enter(f"::ffff:{FAR}")


@pytest.mark.parametrize("host", [NEAR, "127.0.0.1", "::1", "fe80::1", "10.1.2.3"])
def test_own_network_may_come_more_often(host: str) -> None:
    gate = Gate()
    assert [gate.enter(host) for _ in range(33)] == [True] * 32 + [False]
    assert is_near(host)
    assert not is_near(FAR)
    assert not is_near("example.org")


def test_eighth_part_is_kept_for_those_we_dial() -> None:
    gate = Gate(connections=16)
    assert [gate.enter(f"203.0.113.{number}") for number in range(15)] == [True] * 14 + [False]


def test_who_is_denied_is_neither_let_in_nor_dialled() -> None:
    gate = Gate(
        is_denied_address=lambda host: host == FAR, is_denied_device=lambda key: key == b"a" * 32
    )
    assert not gate.enter(FAR)
    assert not gate.may_dial(FAR)
    assert gate.enter(NEAR)
    assert gate.may_dial(NEAR)
    assert not gate.may_speak(AuthorKey(b"a" * 32))
    assert gate.may_speak(AuthorKey(b"b" * 32))
