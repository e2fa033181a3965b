"""HTTP to public addresses only: what a URL from outside names must not be a service inside the cluster.

The name is looked up and checked before anything is connected to, and the connection once more before a byte is sent, so that
a name which answers differently the second time gains nothing. Behind a proxy, which resolves names itself, only the first
can be done.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any, Final
from urllib.parse import urlsplit

import requests
import requests.adapters
import requests.utils
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

_HIDING: Final = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))
"""IPv6 networks whose last 32 bits are an IPv4 address (NAT64, and the old compatible form)."""
_PLATFORM: Final = frozenset({"168.63.129.16"})
"""Public by its number, and yet each Azure machine's own platform service."""


class Private(Exception):
    """The address leads to a network that is not public. No `OSError`: it is no fault that may pass."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet, those that hide an IPv4 address judged by it."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        hidden = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if hidden is None and any(found in network for network in _HIDING):
            hidden = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if hidden is not None:
            return is_public(str(hidden))
    return found.is_global and not found.is_multicast and str(found) not in _PLATFORM


def check(host: str) -> None:
    """Raise `Private` when a name, or an address, leads to a network that is not public."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return  # who connects will see the same, and say it
    for address in sorted(found):
        if not is_public(address):
            raise Private(address)


def session(*, allow_private: bool) -> requests.Session:
    """A session whose direct connections reach public addresses only, unless private ones are allowed."""
    made = requests.Session()
    if not allow_private:
        for scheme in ("http://", "https://"):
            made.mount(scheme, _Adapter())
    return made


def check_proxied(url: str, *, allow_private: bool) -> None:
    """Raise `Private` for a private address in a URL that goes through a proxy, which would reach it for us."""
    if not allow_private and requests.utils.get_environ_proxies(url):
        check(urlsplit(url).hostname or "")


class _Checked:
    def _new_conn(self) -> socket.socket:
        check(self._dns_host)  # type: ignore[attr-defined]
        made: socket.socket = super()._new_conn()  # type: ignore[misc]
        address = str(made.getpeername()[0])
        if not is_public(address):
            made.close()
            raise Private(address)
        return made


class _Connection(_Checked, HTTPConnection):
    pass


class _TlsConnection(_Checked, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(requests.adapters.HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


__all__ = ["Private", "check", "check_proxied", "is_public", "session"]
