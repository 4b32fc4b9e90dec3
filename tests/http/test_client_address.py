from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cookcam.http import Routes, current_request_info
from cookcam.http.client_address import UNKNOWN, ClientAddresses, parse_address, quota_key

PROXIES = (ip_network("10.0.0.0/8"), ip_network("127.0.0.1/32"), ip_network("fd00::/8"))
addresses = ClientAddresses(PROXIES)

trusted = st.ip_addresses(network="10.0.0.0/8").map(str)
foreign = st.ip_addresses(v=4, network="198.51.100.0/24").map(str)
anything = st.text(alphabet=st.characters(max_codepoint=255, exclude_characters=","), max_size=30)


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.7", "10.1.1.1 , 10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.7, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", ["2001:DB8:0::1"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.7"], "198.51.100.7"),
        ("fd00::1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", [""], "10.0.0.1"),
        (None, ["198.51.100.7"], UNKNOWN),
        ("not an address", ["198.51.100.7"], UNKNOWN),
    ],
)
def test_the_client_is_the_rightmost_hop_that_is_no_trusted_proxy(peer, forwarded, client) -> None:
    assert addresses.of(peer, [value.encode() for value in forwarded]) == client


@given(st.lists(anything, max_size=5), foreign, st.lists(trusted, max_size=3), trusted)
def test_what_a_client_writes_into_the_header_never_counts(spoofed, client, proxies, peer) -> None:
    header = ", ".join([*spoofed, client, *proxies])
    assert addresses.of(peer, [header.encode("latin-1")]) == client


@given(foreign, st.lists(anything, max_size=5))
def test_the_header_of_a_peer_that_is_no_proxy_never_counts(peer, hops) -> None:
    assert addresses.of(peer, [", ".join(hops).encode("latin-1")]) == peer


@given(trusted, st.lists(anything | trusted | foreign, max_size=6))
def test_whatever_is_forwarded_the_answer_is_an_address(peer, hops) -> None:
    ip_address(addresses.of(peer, [",".join(hops).encode("latin-1")]))


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_none(text) -> None:
    parse_address(text)


def test_a_zone_is_not_part_of_an_address() -> None:
    assert str(parse_address("fe80::1%whatever")) == "fe80::1"


def test_one_ipv6_network_has_one_quota() -> None:
    assert quota_key("2001:db8::1") == quota_key("2001:db8::ffff:2") != quota_key("2001:db8:0:1::1")
    assert quota_key("198.51.100.7") == "198.51.100.7"
    assert quota_key(UNKNOWN) == UNKNOWN


async def test_handlers_see_the_trusted_address(make_site) -> None:
    bp = Routes("who", __name__)

    @bp.get("/who")
    async def who():
        return {"address": current_request_info().client_address}

    site = make_site(bp, TRUSTED_PROXIES="127.0.0.1/32")
    spoofing = site.client(peer="192.0.2.1")
    proxied = site.client(peer="127.0.0.1")
    hop = {"x_forwarded_for": "203.0.113.1, 198.51.100.7"}
    assert (await spoofing.get("/api/v1/who", **hop)).json() == {"address": "192.0.2.1"}
    assert (await proxied.get("/api/v1/who", **hop)).json() == {"address": "198.51.100.7"}
