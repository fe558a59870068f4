"""The groups in which addresses are counted."""

from __future__ import annotations

import pytest

from hanse.network.addresses import network_key, parse_address, region_key


@pytest.mark.parametrize(
    ("place", "network", "region"),
    [
        ("/ip4/198.51.100.7/tcp/1", "198.51.100.7/32", "198.51.0.0/16"),
        ("/ip6/2001:db8:1:2:3::4/tcp/1", "2001:db8:1:2::/64", "2001:db8::/32"),
        ("/ip6/::ffff:198.51.100.7/tcp/1", "198.51.100.7/32", "198.51.0.0/16"),
        ("/dns4/example.org/tcp/1", "example.org", "example.org"),
    ],
)
def test_addresses_of_one_owner_are_counted_together(place, network, region):
    address = parse_address(place)
    assert network_key(address) == network
    assert region_key(address) == region
