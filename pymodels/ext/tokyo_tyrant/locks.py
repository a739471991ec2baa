"""The lock that the clients of one server share: a record, taken by being the first to store it.

Whoever waits watches the record. If the same owner has it for longer than it says it may, its
process has died, and the lock is taken over. The server removes a record on a condition in one
step, so that two who wait cannot both take it over.
"""

from __future__ import annotations

import os
import random
import socket
import time
import uuid
from typing import Final

from pymodels.errors import StorageBusy
from pymodels.ext._tokyo.unfinished import LOCK
from pymodels.ext.tokyo_tyrant.client import RDB, joined

_SHORTEST: Final = 0.0005
_LONGEST: Final = 0.02
_OWNER: Final = b"owner"


class LockRecord:
    """The lock of one file.

    Args:
        client: the server.
        name: what messages call it.
        seconds: for how long one batch may have the lock, before others take it over.
        patience: for how long to wait for it.
    """

    def __init__(self, client: RDB, name: str, seconds: float, patience: float) -> None:
        self._client = client
        self._name = name
        self.seconds = seconds
        self._patience = patience

    def acquire(self) -> Held:
        """Wait for the lock and take it; raise ``StorageBusy`` if others keep it for too long."""
        owner = uuid.uuid4().hex.encode()
        columns = {
            _OWNER: owner,
            b"seconds": b"%g" % self.seconds,
            b"who": f"process {os.getpid()} on {socket.gethostname()}".encode(),
        }
        latest = time.monotonic() + self._patience
        delay = _SHORTEST
        seen, since = b"", 0.0
        while True:
            asked = time.monotonic()
            if self._stored(columns):
                return Held(self._client, self._name, owner, asked, self.seconds)
            found = self._client.columns(LOCK)
            if found is None:  # it was given back just now, or nothing can be stored at all
                holder = "nobody: the server seems not to let anything be written"
            else:
                holder = found.get(b"who", b"another program").decode("utf-8", "replace")
                if found.get(_OWNER) != seen:
                    seen, since = found.get(_OWNER, b""), time.monotonic()
                elif time.monotonic() - since > float(found.get(b"seconds", b"0") or 0):
                    self._client.remove_if(LOCK, _OWNER, seen)
                    continue
            if time.monotonic() > latest:
                raise StorageBusy(
                    f"{self._name}: others have kept the lock for {self._patience:g} seconds; the "
                    f"last to have it was {holder}. Try again"
                )
            time.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311  # no secret
            delay = min(delay * 1.5, _LONGEST)

    def _stored(self, columns: dict[bytes, bytes]) -> bool:
        try:
            if self._client.putkeep(LOCK, joined(columns)):
                return True
        except ConnectionError:  # perhaps it was stored, and the answer was lost
            pass
        else:
            return False
        found = self._client.columns(LOCK)
        return found is not None and found.get(_OWNER) == columns[_OWNER]


class Held:
    """The lock while it is held."""

    def __init__(self, client: RDB, name: str, owner: bytes, since: float, seconds: float) -> None:
        self._client = client
        self._name = name
        self._owner = owner
        self._since = since
        self._seconds = seconds

    def check(self) -> None:
        """Raise ``StorageBusy`` if others may have taken the lock over, since it took so long."""
        if time.monotonic() - self._since < self._seconds / 2:
            return
        asked = time.monotonic()
        found = self._client.columns(LOCK)
        if found is None or found.get(_OWNER) != self._owner:
            raise StorageBusy(
                f"{self._name}: this batch took longer than {self._seconds:g} seconds, so that "
                "another client has taken over the lock. Nothing was stored; write smaller "
                "batches, or open the storage with a larger lock_seconds"
            )
        self._since = asked - self._seconds / 2

    def release(self) -> None:
        """Give the lock back, unless others have taken it over."""
        self._client.remove_if(LOCK, _OWNER, self._owner)
