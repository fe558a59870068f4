"""Addresses others may try, for those we listen at."""

from __future__ import annotations

from ipaddress import ip_address

from hanse.network.transport.interfaces import reachable


def test_address_that_was_named_stays() -> None:
    bound = ["/ip4/127.0.0.1/tcp/4801", "/ip6/::1/tcp/4801/p2p/x"]
    assert reachable(bound) == tuple(bound)


def test_everywhere_becomes_the_addresses_of_this_machine() -> None:
    found = reachable(["/ip4/0.0.0.0/tcp/4801", "/ip6/::/tcp/4802"])
    assert any(text.startswith("/ip4/") for text in found)
    for text in found:
        _, kind, host, transport, port = text.split("/")
        assert (transport, port) in {("tcp", "4801"), ("tcp", "4802")}
        assert ip_address(host).version == int(kind[-1])
        assert not ip_address(host).is_unspecified


def test_nothing_is_named_twice() -> None:
    found = reachable(["/ip4/0.0.0.0/tcp/1", "/ip4/0.0.0.0/tcp/1"])
    assert len(set(found)) == len(found)
