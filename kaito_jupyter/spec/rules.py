"""The rules of KAITO's validating webhook about single values, so that they are said in the notebook.

Each function returns what is wrong, as (message, remedy), or None. Source: KAITO v0.12, `api/v1beta1/workspace_validation.go`,
and Docker's reference grammar (`distribution/reference`).
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final
from urllib.parse import urlsplit

from kaito_trainer.contract.problems import shown

Wrong = tuple[str, str] | None

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
_LABEL_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")

_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_IMAGE = re.compile(rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*(?::{_TAG})?(?:@{_DIGEST})?")

METADATA_HOSTS: Final = ("metadata.google.internal", "metadata.google", "instance-data.ec2.internal")
_PRIVATE: Final = tuple(ipaddress.ip_network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))


def label(value: Any, what: str = "a name", longest: int = 63) -> Wrong:
    """An RFC 1123 label: names of Workspaces, Jobs, containers, namespaces."""
    allowed = f"Use at most {longest} lower-case letters, digits and -, beginning and ending with a letter or digit."
    if not isinstance(value, str) or not value:
        return f"{shown(value)} is not {what}.", allowed
    if len(value) > longest:
        return f"{shown(value)} has {len(value)} letters.", allowed
    if not _LABEL.fullmatch(value):
        near = near_label(value)
        return f"{shown(value)} is not {what}.", allowed + (f' For example "{near}".' if near else "")
    return None


def near_label(value: Any) -> str:
    """The label that is nearest to a text; empty when there is none."""
    text = re.sub(r"[^a-z0-9]+", "-", value.lower()) if isinstance(value, str) else ""
    return text.strip("-")[:63].rstrip("-")


def subdomain(value: Any, what: str = "a name") -> Wrong:
    """An RFC 1123 subdomain: names of Secrets, ConfigMaps, claims."""
    if isinstance(value, str) and len(value) <= 253 and _SUBDOMAIN.fullmatch(value):
        return None
    return (
        f"{shown(value)} is not {what}.",
        "Use lower-case letters, digits, - and ., beginning and ending with a letter or digit.",
    )


def label_pair(key: Any, value: Any) -> Wrong:
    """A label's key and value, as a node selector takes them."""
    prefix, slash, name = key.rpartition("/") if isinstance(key, str) else ("", "", "")
    if not _LABEL_NAME.fullmatch(name) or len(name) > 63 or (slash and subdomain(prefix)):
        return f"{shown(key)} is not a label's key.", "Write it like app or example.com/app."
    if not isinstance(value, str) or len(value) > 63 or not _LABEL_VALUE.fullmatch(value):
        return f"{shown(value)} is not a label's value.", "Use at most 63 letters, digits, -, _ and . in quotes."
    return None


def image(ref: Any) -> Wrong:
    """A Docker image reference."""
    example = "Write it like registry.example.com/team/adapter:1."
    if not isinstance(ref, str) or not ref:
        return f"{shown(ref)} is not an image.", example
    if re.fullmatch(r"[0-9a-f]{64}", ref):
        return f"{shown(ref)} is 64 hexadecimal digits, which Docker takes for an id.", "Give the image another name."
    first, _, rest = ref.partition("/")
    has_host = bool(rest) and ("." in first or ":" in first or first == "localhost" or first != first.lower())
    bare = (rest if has_host else ref).split("@")[0]
    name = re.sub(rf":{_TAG}$", "", bare)
    if "://" in ref:
        return f"{shown(ref)} is an address, not an image.", f"Leave out {shown(ref.partition('://')[0] + '://')}."
    lower = ref.replace(name, name.lower())
    if name != name.lower() and _IMAGE.fullmatch(lower):
        return (
            f"{shown(ref)} has upper-case letters in its name.",
            f'A repository\'s name is lower-case: use "{lower}".',
        )
    if not _IMAGE.fullmatch(ref):
        return f"{shown(ref)} is not an image.", example
    return (f"{shown(ref)} has a name of {len(name)} letters.", "Docker allows 255.") if len(name) > 255 else None


def url(address: Any, *, public: bool = True) -> Wrong:
    """An address that KAITO's downloader may fetch from inside the cluster. Our own Job may fetch from closed ones too."""
    example = "Give an absolute http or https address, for example https://example.com/data/train.parquet."
    try:
        parts = urlsplit(address) if isinstance(address, str) else None
        host = (parts.hostname or "").lower() if parts else ""
        _ = parts.port if parts else None
    except ValueError:
        parts, host = None, ""
    if parts is None or not parts.scheme or not host or re.search(r"[\s\x00-\x1f\x7f]", address):
        return f"{shown(address)} is not an absolute address.", example
    if parts.scheme.lower() not in ("http", "https"):
        return f"{shown(address)} does not use http or https.", example
    if not public:
        return None
    elsewhere = "KAITO fetches only from public addresses: put the file elsewhere, or use image: or pvc:."
    host = host.rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return f"{shown(address)} is on localhost.", elsewhere
    if host in METADATA_HOSTS:
        return f"{shown(address)} is a cloud's metadata service.", elsewhere
    if kind := _closed(host):
        allowed = " Where the cluster allows this one, say so with --private-urls." if kind == "private" else ""
        return f"{shown(address)} is a {kind} address.", elsewhere + allowed
    return None


def _closed(host: str) -> str:
    """Why an IP address is not public, in Go's sense (`IsLoopback`, `IsPrivate`, `IsLinkLocal…`); a name passes."""
    try:
        ip = ipaddress.ip_address(host.split("%", maxsplit=1)[0])
    except ValueError:
        return ""
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_loopback:
        return "loopback"
    multicast = ip.packed[:3] == b"\xe0\0\0" if ip.version == 4 else ip.packed[0] == 0xFF and ip.packed[1] & 0x0F == 2
    if ip.is_link_local or multicast:
        return "link-local"
    return "private" if any(ip in network for network in _PRIVATE) else ""
