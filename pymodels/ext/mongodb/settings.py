"""From the settings of a storage to what the driver's client takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus, unquote_plus, urlsplit

from pymodels.errors import SettingsError
from pymodels.ext.mongodb.client import Connection, hosts_of


def connection_settings(
    *,
    uri: str | None,
    host: str,
    port: int,
    user: str | None,
    password: str | None,
    auth_source: str | None,
    tls: bool | None,
    tls_ca_file: Any,
    pool_size: int,
    timeout: float,
    socket_timeout: float | None,
    options: Mapping[str, Any] | None,
) -> tuple[Connection, str]:
    """Return the connection that settings ask for, and the hosts for messages.

    Raises ``SettingsError`` for values that make no sense.
    """
    _check(port, "port", int, "a number from 1 to 65535", lambda value: 0 < value < 65536)
    _check(pool_size, "pool_size", int, "a number of connections, 1 or more", lambda v: v > 0)
    _check(timeout, "timeout", (int, float), "seconds, more than 0", lambda value: value > 0)
    if socket_timeout is not None:
        _check(socket_timeout, "socket_timeout", (int, float), "seconds or None", lambda v: v > 0)
    if not isinstance(options, Mapping | None):
        raise SettingsError(
            f"options maps names of the driver's options to values, not {options!r}"
        )
    secrets = [password or "", str((options or {}).get("password") or "")]
    if uri is None:
        _check(host, "host", str, "a name or an address", bool)
        uri = f"mongodb://{_address(host, port)}/"
    else:
        if not isinstance(uri, str) or not uri.startswith(("mongodb://", "mongodb+srv://")):
            raise SettingsError("uri begins with mongodb:// or mongodb+srv://")
        secrets += _passwords(uri)
    given: dict[str, Any] = {
        "serverSelectionTimeoutMS": int(timeout * 1000),
        "connectTimeoutMS": int(timeout * 1000),
        "maxPoolSize": pool_size,
        "appname": "pymodels",
    }
    if socket_timeout is not None:
        given["socketTimeoutMS"] = int(socket_timeout * 1000)
    named = {
        "username": user,
        "password": password,
        "authSource": auth_source,
        "tls": tls,
        "tlsCAFile": None if tls_ca_file is None else str(tls_ca_file),
    }
    given |= {name: value for name, value in named.items() if value is not None}
    given |= dict(options or {})
    if (user is None) is not (password is None) and "authMechanism" not in given:
        raise SettingsError("user and password belong together: give both, or neither")
    every = [form for secret in secrets for form in (secret, quote_plus(secret))]
    return Connection(uri, given, tuple(every)), hosts_of(uri)


def _address(host: str, port: int) -> str:
    if "," in host or (":" in host and not host.startswith("[") and host.count(":") == 1):
        return host  # several, or one that names its port itself
    if host.startswith("/"):
        return quote_plus(host)
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def _passwords(uri: str) -> list[str]:
    """Return every text in a URI that may be a password, as it stands and decoded."""
    user_info = uri.partition("://")[2].rpartition("@")[0]
    found = [user_info.partition(":")[2]]
    try:
        found.append(urlsplit(uri).password or "")
    except ValueError:
        pass  # the driver says what is wrong with it
    return [form for one in found if one for form in (one, unquote_plus(one))]


def _check(value: Any, name: str, kind: Any, wanted: str, fits: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, kind) or not fits(value):
        raise SettingsError(f"{name} is {wanted}, not {value!r}")
