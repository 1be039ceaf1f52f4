"""No URL leads a message inside, however it is written and whatever its name means."""

from __future__ import annotations

import ipaddress
import random
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddlot.errors import ConfigError, OddlotError
from oddlot.notifiers.addresses import (
    Resolve,
    Target,
    choose_address,
    is_public,
    read_networks,
    read_url,
    resolve,
)
from oddlot.notifiers.contract import Later
from oddlot.notifiers.posting import post

INSIDE = [
    *("127.0.0.1", "127.255.255.254", "0.1.2.3", "10.0.0.1", "10.255.255.255"),
    *("100.64.0.1", "100.127.255.255", "169.254.169.254", "169.254.170.2", "172.16.0.1"),
    *("172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1"),
    *("192.168.255.255", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1"),
    *("240.0.0.1", "255.255.255.255", "168.63.129.16", "::", "::1", "::2", "::127.0.0.1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:7f00:1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::808:808", "64:ff9b:1::1"),
    *("2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::", "2001::1", "2001:0:7f00:1::"),
    *("2001:db8::1", "fc00::1", "fd00:ec2::254", "fdff::1", "fe80::1", "fe80::1%eth0", "fec0::1"),
    *("ff02::1", "ff0e::1", "100::1", "5f00::1", "3fff::1"),
]
OUTSIDE = ["8.8.8.8", "1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001::1"]
# Hosts that some program reads as an address inside. Each of 127.0.0.1 or 169.254.169.254.
ODD_HOSTS = [
    *("127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0x7f.1", "017700000001"),
    *("0177.0.0.1", "0177.1", "127.0.0.01", "127.000.000.001", "00127.0.0.1", "127.0.0.1."),
    *(
        "①②⑦.0.0.1",
        "\uff11\uff12\uff17.0.0.1",
        "127。0。0。1",
        "127\uff0e0\uff0e0\uff0e1",
        "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
        "\uff4cocalhost",
    ),
    *(
        "0",
        "0.0",
        "0x0",
        "00",
        "127.0.0.1%00.example.com",
        "127.0.0.1%2eexample.com",
        "%31%32%37.1",
    ),
    *("[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
    *("[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]"),
    *("[fe80::1%25lo]", "[::1%25lo]", "[::1]x", "[127.0.0.1]", "[localhost]", "::1", "[::1"),
    *("2852039166", "0xa9fea9fe", "0xa9.0xfe.0xa9.0xfe", "0251.0376.0251.0376", "169.254.43518"),
    *("169.16689662", "[::ffff:a9fe:a9fe]", "[fd00:ec2::254]", "localhost", "LOCALHOST"),
    *("localhost.", "localhost.localdomain", "ip6-localhost", "127.0.0.1", "169.254.169.254"),
    *(
        "256.256.256.256",
        "1.2.3.4.5",
        "0x",
        "08.0.0.1",
        "1e3.1",
        "127.0.0.1.",
        "a..b",
        "-a.example",
    ),
    *("", ".", "..", "a" * 64 + ".example", "a." * 130 + "example", "exa mple", "exa\tmple"),
]
AROUND = [
    "https://{}:{}/",
    "http://{}:{}/",
    "https://user@{}:{}/",
    "https://example.com@{}:{}/",
    "https://{}:{}#@example.com/",
    "https://{}:{}\\@example.com/",
    "https://example.com\\@{}:{}/",
    " https://{}:{}/",
    "https:{}:{}/",
    "//{}:{}/",
    "ftp://{}:{}/",
    "gopher://{}:{}/_x",
    "file://{}:{}/etc/passwd",
]


class Canary(NamedTuple):
    """A listener that counts who comes."""

    port: int
    hits: list[str]


@pytest.fixture
def canary() -> Iterator[Canary]:
    server = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    server.settimeout(0.05)
    hits: list[str] = []
    ends = threading.Event()

    def serve() -> None:
        while not ends.is_set():
            try:
                connection, address = server.accept()
            except TimeoutError:
                continue
            hits.append(str(address))
            connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield Canary(server.getsockname()[1], hits)
    ends.set()
    thread.join()
    server.close()


def inside(host: str, port: int) -> Sequence[str]:
    """Resolve as the system does where that is a number, and any other name to loopback."""
    try:
        return resolve(host, port)
    except (OSError, UnicodeError):
        return ["127.0.0.1"]


def names(found: Sequence[str]) -> Resolve:
    """Return a name service that knows one answer."""
    return lambda host, port: found


def test_250_urls_that_mean_an_address_inside_reach_nobody(canary: Canary) -> None:
    urls = [around.format(host, canary.port) for host in ODD_HOSTS for around in AROUND]
    assert len(urls) > 250
    for url in urls:
        with pytest.raises(OddlotError) as raised:
            post(url, b"x", {}, look_up=inside, timeout_s=2)
        assert isinstance(raised.value, ConfigError), url
    assert canary.hits == []


def test_the_canary_would_sing(canary: Canary) -> None:
    with pytest.raises(Later):
        post(f"http://127.0.0.1:{canary.port}/", b"x", {}, allow=read_networks(["127.0.0.1/32"]))
    assert len(canary.hits) == 1


@pytest.mark.parametrize("address", INSIDE)
def test_a_name_with_one_address_inside_among_others_is_refused(address: str) -> None:
    target = Target("https", "shop.example", 443, "/")
    for found in ([address], [OUTSIDE[0], address], [address, OUTSIDE[1]]):
        with pytest.raises(ConfigError, match=r"shop\.example: must have public addresses only"):
            choose_address(target, (), names(found))


@pytest.mark.parametrize("address", OUTSIDE)
def test_an_address_outside_is_taken_by_https_on_two_ports_only(address: str) -> None:
    look_up = names([address])
    for port in (443, 8443):
        target = Target("https", "shop.example", port, "/")
        assert choose_address(target, (), look_up) == address
    for target in (
        Target("http", "shop.example", 443, "/"),
        Target("http", "shop.example", 80, "/"),
        Target("https", "shop.example", 22, "/"),
    ):
        with pytest.raises(ConfigError, match="by https on port 443 or 8443"):
            choose_address(target, (), look_up)


def test_a_network_that_the_config_allows_is_reached_and_no_other() -> None:
    allow = read_networks(["10.1.0.0/16", "fd12::/32"])
    target = Target("http", "am.internal", 9093, "/")

    def reach(one: str) -> str:
        return choose_address(target, allow, names([one]))

    assert reach("10.1.255.1") == "10.1.255.1"
    assert reach("fd12::9") == "fd12::9"
    assert reach("::ffff:10.1.0.9") == "::ffff:10.1.0.9"
    for other in ("10.2.0.1", "fd13::1", "127.0.0.1", "::ffff:10.2.0.1"):
        with pytest.raises(ConfigError):
            reach(other)


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(canary: Canary) -> None:
    """A name that means something else a moment later (rebinding) is asked for once."""
    asked: list[str] = []

    def look_up(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) > 1 else ["127.9.9.9"]

    with pytest.raises(Later):
        post(
            f"http://rebinding.example:{canary.port}/", b"x", {},
            allow=read_networks(["127.9.9.9/32"]), look_up=look_up,
        )  # fmt: skip
    assert asked == ["rebinding.example"]
    assert len(canary.hits) == 1


def test_a_name_without_an_address_is_tried_again() -> None:
    def none(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    for look_up in (none, names([])):
        with pytest.raises(Later, match=r"shop\.example: has no address at present"):
            choose_address(Target("https", "shop.example", 443, "/"), (), look_up)


@given(st.text(min_size=1, max_size=60))
def test_any_text_is_taken_apart_or_refused_without_being_quoted(text: str) -> None:
    for url in (text, f"https://{text}", f"https://shop.example/{text}"):
        try:
            target = read_url(url)
        except ConfigError as error:
            assert len(text) < 8 or text not in str(error)
            continue
        assert target.host in url.lower()
        assert 0 < target.port < 65536


def test_ten_thousand_addresses_inside_none_is_public() -> None:
    chance = random.Random(1)
    networks = [
        ipaddress.ip_network(text)
        for text in (
            *("127.0.0.0/8", "10.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16", "172.16.0.0/12"),
            *("100.64.0.0/10", "224.0.0.0/4", "fc00::/7", "fe80::/10", "64:ff9b::/96", "::/96"),
            *("2002::/16", "2001::/32", "ff00::/8"),
        )
    ]
    for number in range(10_000):
        network = networks[number % len(networks)]
        address = network[chance.randrange(network.num_addresses)]
        assert not is_public(address), address
        if isinstance(address, ipaddress.IPv4Address):
            assert not is_public(ipaddress.IPv6Address(f"::ffff:{address}"))


def test_a_network_that_is_none_is_refused() -> None:
    for text in ("10.1.0.0/33", "shop.example", "10.1.0.5/16", ""):
        with pytest.raises(ConfigError, match=r"allow must be networks such as 10\.1\.0\.0/16"):
            read_networks([text])
