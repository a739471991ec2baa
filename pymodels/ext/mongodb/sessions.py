"""Transactions of the server: begun, done again where others were in the way, committed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pymongo import errors as driver
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference

from pymodels.errors import TransactionsUnsupported
from pymodels.ext.mongodb.client import (
    is_standalone,
    is_transient,
    is_undone_commit,
    is_unknown_commit,
)
from pymodels.ext.mongodb.failures import Taken, taken
from pymodels.storage import Prepared

if TYPE_CHECKING:
    from pymodels.ext.mongodb.storage import Storage

T = TypeVar("T")

_PATIENCE: Final = 60.0
"""Seconds for which a transaction is done again, before others are said to be in the way."""


def no_transactions(name: str) -> TransactionsUnsupported:
    """Return the error for a server that has no transactions."""
    return TransactionsUnsupported(
        f"{name} is a single server, which cannot write several records as one: start it with "
        "--replSet rs0 and call rs.initiate() once; one member is enough. For batches that may "
        "stay half done there is the setting whole_batches=False"
    )


def staged(storage: Storage, work: Callable[[Any], T]) -> tuple[Any, T]:
    """Do *work* in a transaction; return its session, still to be committed, and the result."""
    end = time.monotonic() + _PATIENCE
    attempt = 0
    while True:
        session = storage.client.start_session()
        try:
            session.start_transaction(
                read_concern=ReadConcern("snapshot"),
                write_concern=storage.write_concern,
                read_preference=ReadPreference.PRIMARY,
            )
            return session, work(session)
        except Taken as failure:
            abort(session)
            raise taken(storage, failure) from failure.__cause__
        except driver.PyMongoError as error:
            abort(session)
            if is_standalone(error):
                raise no_transactions(storage.name) from error
            if not (is_transient(error) and _may_go_on(error, end)):
                raise
        except BaseException:
            abort(session)
            raise
        attempt += 1
        _wait(attempt)


def whole(storage: Storage, work: Callable[[Any], T]) -> T:
    """Do *work* in a transaction, commit it and return the result."""
    if not storage.whole_batches:
        try:
            return work(None)
        except Taken as failure:
            raise taken(storage, failure) from failure.__cause__
    end = time.monotonic() + _PATIENCE
    while True:
        session, result = staged(storage, work)
        try:
            commit(session, end)
        except driver.PyMongoError as error:
            if not (is_undone_commit(error) and _may_go_on(error, end)):
                raise
            continue
        return result


def commit(session: Any, end: float) -> None:
    """Commit; ask again as long as it is unknown whether it was done."""
    attempt = 0
    try:
        while True:
            try:
                session.commit_transaction()
            except driver.PyMongoError as error:
                if not (is_unknown_commit(error) and _may_go_on(error, end)):
                    raise
            else:
                return
            attempt += 1
            _wait(attempt)
    finally:
        session.end_session()


def abort(session: Any) -> None:
    """Forget what was done in a transaction."""
    try:
        if session.in_transaction:
            session.abort_transaction()
    except driver.PyMongoError:
        pass  # the server ends by itself what it does not hear of again
    finally:
        session.end_session()


def _may_go_on(error: driver.PyMongoError, end: float) -> bool:
    """Tell whether it is worth while to ask again: there are servers, and there is time."""
    return not isinstance(error, driver.ServerSelectionTimeoutError) and time.monotonic() < end


def _wait(attempt: int) -> None:
    time.sleep(random.uniform(0, min(0.1, 0.001 * 2**attempt)))  # noqa: S311 - no secret


class PreparedBatch(Prepared):
    """A batch whose transaction is done but for its commit."""

    def __init__(self, storage: Storage, work: Callable[[Any], Any]) -> None:
        self._storage = storage
        self._work = work
        self._session, _ = staged(storage, work)
        storage.waiting.begin()

    def commit(self) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        self._storage.waiting.end()
        end = time.monotonic() + _PATIENCE
        with self._storage.named_errors():
            try:
                commit(session, end)
            except driver.PyMongoError as error:
                if not (is_undone_commit(error) and _may_go_on(error, end)):
                    raise
                whole(self._storage, self._work)  # the server forgot it: do it all again

    def rollback(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            self._storage.waiting.end()
            abort(session)
