"""Which addresses a message may be sent to: none inside, unless the config allows them."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import msgspec

from oddlot.errors import ConfigError
from oddlot.notifiers.contract import Later

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Sequence[str]]

PORTS = (443, 8443)
# Python 3.11 calls some of these global. 64:ff9b::/96 and 64:ff9b:1::/48 are NAT64, 2002::/16 6to4,
# 2001::/32 Teredo, ::/96 old compatible: each wraps an IPv4 address, of which some are inside.
_DENIED = tuple(
    map(
        ipaddress.ip_network,
        (
            *("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15"),
            *("224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32", "169.254.0.0/16"),
            *("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "fec0::/10"),
            *("ff00::/8", "5f00::/16", "3fff::/20", "100::/64"),
        ),
    )
)
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.IGNORECASE)
_NUMERIC = re.compile(r"(?:0x[0-9a-f]*|\d+)", re.IGNORECASE)
_VISIBLE = re.compile(r"[\x21-\x7e]+")


class Target(msgspec.Struct, frozen=True):
    """A URL, taken apart; only `host` and `port` of it are ever shown.

    Attributes:
        scheme: https or http.
        host: a name, or an address without brackets.
        port: 1 to 65535.
        path: with the query.
    """

    scheme: str
    host: str
    port: int
    path: str


def read_networks(allow: Sequence[str]) -> list[Network]:
    """Read networks such as "10.1.0.0/16".

    Raises:
        ConfigError: one is none.
    """
    networks = []
    for text in allow:
        try:
            networks.append(ipaddress.ip_network(text))
        except ValueError:
            raise ConfigError(
                f"allow must be networks such as 10.1.0.0/16 or ::1/128; got {text!r}"
            ) from None
    return networks


def read_url(url: str) -> Target:
    """Take a URL apart, strictly: what two programs could read in two ways is refused.

    Raises:
        ConfigError: it is no plain http(s) URL; the text never quotes it, for it may be a secret.
    """
    if not _VISIBLE.fullmatch(url) or "\\" in url:
        raise ConfigError("url must be of ASCII characters without spaces or backslashes")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigError("url must be https://HOST/PATH; it cannot be read") from None
    if parts.scheme not in ("https", "http"):
        raise ConfigError("url must begin with https://")
    if "@" in parts.netloc:
        raise ConfigError("url must name a host without a user or password")
    if "[" in parts.netloc or ":" in host:
        if not _is_address(host):
            raise ConfigError("url must name a host or an address; the one in brackets is none")
    elif _NUMERIC.fullmatch(host.rsplit(".", 1)[-1]):
        # 127.1, 0x7f.1 and 2130706433 are addresses to some programs and names to others.
        if not _is_address(host):
            raise ConfigError("url must name an address as four decimal numbers")
    elif len(host) > 253 or not all(map(_LABEL.fullmatch, host.split("."))):
        raise ConfigError("url must name a host of letters, digits, dots and hyphens")
    if port == 0:
        raise ConfigError("url must name a port from 1 to 65535; got 0")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), path)


def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system for the addresses of a host."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def choose_address(target: Target, allow: Sequence[Network], look_up: Resolve = resolve) -> str:
    """Return the one address to connect to; every address of the host is checked.

    The caller connects to it and not to the name, which may mean another one a moment later.

    Args:
        target: where to.
        allow: networks that the config allows beside the public ones; http and other ports
            than 443 and 8443 only there.
        look_up: gives the addresses of a host.

    Raises:
        ConfigError: one of them is not allowed.
        Later: the host has none at present.
    """
    try:
        texts = look_up(target.host, target.port)
    except (OSError, UnicodeError):
        raise Later(f"{target.host}: has no address at present", is_away=True) from None
    if not texts:
        raise Later(f"{target.host}: has no address at present", is_away=True)
    for text in texts:
        address = _read_address(text)
        if any(address in network for network in allow):
            continue
        if not is_public(address):
            raise ConfigError(
                f"{target.host}: must have public addresses only, or ones that `allow` lists"
            )
        if target.scheme != "https" or target.port not in PORTS:
            raise ConfigError(
                f"{target.host}: must be reached by https on port 443 or 8443, unless `allow` lists"
                " its address"
            )
    return texts[0]


def is_public(address: Address) -> bool:
    """Tell whether an address is out in the world, whatever it wraps."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address.scope_id is not None:
            return False
    if any(address in network for network in _DENIED):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _read_address(text: str) -> Address:
    address = ipaddress.ip_address(text)
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if mapped is not None else address


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text
