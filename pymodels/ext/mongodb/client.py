"""The connection: one client for each process and settings, and its errors by PyModels' names."""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import bson.errors
import pymongo
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import errors as driver
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import make_read_preference, read_pref_mode_from_name
from pymongo.write_concern import WriteConcern

from pymodels.errors import (
    ConnectionFailed,
    PyModelsError,
    SettingsError,
    StorageBusy,
    StorageClosed,
    StorageError,
    StorageFull,
    StorageReadOnly,
    ValidationError,
)

OPTIONS: Final[CodecOptions[dict[str, Any]]] = CodecOptions(
    uuid_representation=UuidRepresentation.STANDARD,
    # A date beyond Python's years is read as it is, and fails only where a model reads it.
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)

_INHERITED: Final[list[Any]] = []
"""What a forked child has of its parent's: never used, never closed, and so never collected."""

_LOCKED_OUT: Final = frozenset({13, 18, 8000})
_NO_ROOM: Final = frozenset({14031, 12501})
_OVERTAKEN: Final = frozenset({112, 246, 251})
_FORGOTTEN: Final = 251
_BUSY: Final = frozenset({24, 50, 262, 290})
_CURSOR_LOST: Final = 43
_NOT_VALID: Final = 121
_NOT_ON_STANDALONE: Final = 20
_TOO_LARGE: Final = frozenset({10334, 17419, 17420})


class Connection:
    """How to reach a database; the client is made when it is first needed."""

    def __init__(self, uri: str, options: Mapping[str, Any], secrets: tuple[str, ...]) -> None:
        self._uri = uri
        self._options = dict(options)
        self._secrets = tuple(secret for secret in secrets if secret)
        self._identity = (uri, repr(sorted(self._options.items(), key=lambda item: item[0])))
        self._client: Any = None
        self._pid = 0
        self._closed = False

    def client(self) -> Any:
        """Return the client of this process."""
        if self._pid == os.getpid() and self._client is not None:
            return self._client
        if self._closed:
            raise StorageClosed("this storage is closed")
        self._client = _CLIENTS.take(self)
        self._pid = os.getpid()
        return self._client

    def close(self) -> None:
        """Give the client back; the last one who does so closes it."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None and self._pid == os.getpid():
            _CLIENTS.give_back(self)

    def make(self) -> Any:
        """Return a new client; raise ``SettingsError`` if the driver does not take the settings."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # the driver only warns of an unknown option
                return pymongo.MongoClient(self._uri, **{"connect": False, **self._options})
        except (driver.PyMongoError, OSError, TypeError, ValueError, UserWarning) as error:
            # Not as the cause: what the driver says of a URI may quote a part of its password.
            raise SettingsError(f"MongoDB: {self._harmless(str(error))}") from None

    def _harmless(self, text: str) -> str:
        pieces = {piece for one in self._secrets for piece in re.split(r"[^0-9A-Za-z]+", one)}
        if any(len(piece) > 1 and piece in text for piece in pieces):
            return (
                "the uri cannot be read. In user and password, these signs are written with "
                "percent signs, as urllib.parse.quote_plus does: : / ? # [ ] @ %"
            )
        return text

    @property
    def identity(self) -> tuple[str, str]:
        """What tells this client from those with other settings."""
        return self._identity

    def without_secrets(self, text: str) -> str:
        """Return *text* without passwords."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


class _Clients:
    """The clients of this process, each with the number of those who use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[tuple[str, str], tuple[Any, int]] = {}

    def take(self, connection: Connection) -> Any:
        with self._lock:
            client, users = self._held.get(connection.identity, (None, 0))
            if client is None:
                client = connection.make()
            self._held[connection.identity] = (client, users + 1)
            return client

    def give_back(self, connection: Connection) -> None:
        with self._lock:
            client, users = self._held.pop(connection.identity, (None, 0))
            if users > 1:
                self._held[connection.identity] = (client, users - 1)
                return
        if client is not None:
            client.close()

    def begin_anew(self) -> None:
        """Forget, in a forked child, what belongs to the parent."""
        _INHERITED.append(self._held)
        self._lock = threading.Lock()
        self._held = {}


_CLIENTS: Final = _Clients()
os.register_at_fork(after_in_child=_CLIENTS.begin_anew)


def keep(inherited: Any) -> None:
    """Keep something of another process from being collected, which would close it there."""
    _INHERITED.append(inherited)


# --- settings -------------------------------------------------------------------------------


def concern(name: str, value: Any, kind: Any) -> Any:
    """Return a read or write concern, from a level, a number of members, or a mapping."""
    try:
        return kind(**value) if isinstance(value, Mapping) else kind(value)
    except (TypeError, ValueError, driver.PyMongoError) as error:
        raise SettingsError(f"{name}: {value!r} is none: {error}") from error


def read_preference(value: Any) -> Any:
    """Return the read preference of that name, such as ``"secondaryPreferred"``."""
    if not isinstance(value, str):
        return value
    try:
        return make_read_preference(read_pref_mode_from_name(value), None)
    except ValueError as error:
        raise SettingsError(
            f"read_preference: {value!r} is none of primary, primaryPreferred, secondary, "
            "secondaryPreferred, nearest"
        ) from error


def read_concern(value: Any) -> Any:
    return concern("read_concern", value, ReadConcern)


def write_concern(value: Any) -> Any:
    return concern("write_concern", value, WriteConcern)


def hosts_of(uri: str) -> str:
    """Return the part of a URI that names the hosts, and nothing of what precedes it.

    >>> hosts_of("mongodb://ann:s3cret@db1:27017,db2/app?tls=true")
    'db1:27017,db2'
    """
    _, _, rest = uri.partition("://")
    return rest.partition("?")[0].rpartition("@")[2].partition("/")[0]


# --- errors ---------------------------------------------------------------------------------


@contextmanager
def named_errors(name: str, connection: Connection) -> Iterator[None]:
    """Raise PyModels' own errors in place of the driver's."""
    try:
        yield
    except (driver.PyMongoError, bson.errors.BSONError) as error:
        raise named(name, connection, error) from error


def named(name: str, connection: Connection, error: Exception) -> PyModelsError:
    """Return PyModels' own error for one of the driver's."""
    first = _first_failure(error)
    said = _brief(error) if first is None else str(first["errmsg"])
    reason = connection.without_secrets(said).rstrip(".")
    code = getattr(error, "code", None) if first is None else first.get("code")
    if is_too_large(error):
        return ValidationError(
            f"{name}: a record is too large: {reason}. MongoDB keeps documents of up to 16 MiB: "
            "store a part of it in records of its own"
        )
    if code == _NOT_VALID:
        return ValidationError(
            f"{name}: the collection has rules of its own on the server (a validator), and they "
            f"refuse a record: {reason}: {_rules(error, first)}"
        )
    if isinstance(error, driver.ServerSelectionTimeoutError):
        return ConnectionFailed(
            f"{name}: no server could be reached: {reason}. Check that it runs and that the host, "
            "port and TLS settings are right"
        )
    if isinstance(error, driver.InvalidOperation) and "close" in str(error).lower():
        return StorageClosed(f"{name} is closed: open it again with get_storage(settings)")
    if isinstance(error, driver.ConnectionFailure):
        return ConnectionFailed(
            f"{name}: the connection was lost: {reason}. What was asked for last may or may not "
            "have been done"
        )
    if isinstance(error, driver.CursorNotFound) or code == _CURSOR_LOST:
        return StorageError(
            f"{name}: the server has lost the cursor of this iteration, as it does after ten "
            f"minutes without a read, or when it is started again: begin anew ({reason})"
        )
    if _is_unconfirmed(error):
        return ConnectionFailed(
            f"{name}: not enough servers have confirmed what was asked for last, and it may or may "
            f"not have been done: {reason}"
        )
    if code in _LOCKED_OUT:
        return ConnectionFailed(
            f"{name}: the server refuses this user: {reason}. Check user, password and "
            "auth_source, and what the user may do"
        )
    if code in _NO_ROOM:
        return StorageFull(f"{name}: the server's disk is full: {reason}")
    if code in _OVERTAKEN or code in _BUSY:
        return StorageBusy(f"{name}: others kept it busy for too long: {reason}. Try again")
    if code == 10107 or code == 13435:
        return StorageReadOnly(f"{name}: the server takes no writes: {reason}")
    return StorageError(f"{name}: {reason}")


def _brief(error: Exception) -> str:
    details = getattr(error, "details", None)
    if isinstance(details, Mapping) and isinstance(details.get("errmsg"), str):
        return str(details["errmsg"])
    text = str(error)
    return text.partition(", full error")[0].partition(", Timeout:")[0]


def _first_failure(error: Exception) -> Mapping[str, Any] | None:
    """Return what the server said of the first write of several that failed."""
    if not isinstance(error, driver.BulkWriteError):
        return None
    failures = (error.details or {}).get("writeErrors") or [None]
    first = failures[0]
    return first if isinstance(first, Mapping) and "errmsg" in first else None


def _rules(error: Exception, first: Mapping[str, Any] | None) -> Any:
    details = first if first is not None else getattr(error, "details", None) or {}
    return details.get("errInfo", {}).get("details", "see the validator")


def is_too_large(error: BaseException) -> bool:
    """Tell whether a document is larger than MongoDB keeps."""
    return isinstance(error, driver.DocumentTooLarge) or getattr(error, "code", None) in _TOO_LARGE


def is_transient(error: BaseException) -> bool:
    """Tell whether a transaction failed so before its commit that it may be begun again."""
    return is_undone_commit(error) or getattr(error, "code", None) in _OVERTAKEN


def is_undone_commit(error: BaseException) -> bool:
    """Tell whether a commit failed so that it is certain that nothing was done.

    That is only where the server says so. A transaction that it does not know (251) is no proof:
    it may have been committed, and forgotten by a server that was elected since.
    """
    return isinstance(error, driver.PyMongoError) and error.has_error_label(
        "TransientTransactionError"
    )


def is_unknown_commit(error: BaseException) -> bool:
    """Tell whether it is unknown if a commit was done, so that it has to be asked for again."""
    return isinstance(error, driver.PyMongoError) and error.has_error_label(
        "UnknownTransactionCommitResult"
    )


def _is_unconfirmed(error: BaseException) -> bool:
    """Tell whether something was done, perhaps, of which too few servers have said so."""
    forgotten = getattr(error, "code", None) == _FORGOTTEN and not is_undone_commit(error)
    return isinstance(error, driver.WriteConcernError) or is_unknown_commit(error) or forgotten


def is_standalone(error: BaseException) -> bool:
    """Tell whether a transaction failed because the server is no member of a replica set."""
    return (
        isinstance(error, driver.OperationFailure)
        and error.code == _NOT_ON_STANDALONE
        and "replica set" in str(error)
    )
