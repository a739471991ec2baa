"""Tokyo Tyrant: the client and the protocol."""

from __future__ import annotations

import socket
import struct
import time
from pathlib import Path

import pytest

from pymodels.ext.tokyo_tyrant.client import RDB, Error, joined
from tests.tyrants import Tyrant


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "storage.tct"


def test_every_command(tyrant: Tyrant, tmp_path: Path) -> None:
    client = RDB(tyrant.socket)
    client.put(b"a", joined({b"n": b"1"}))
    assert client.putkeep(b"a", b"") is False
    assert client.putkeep(b"b", joined({b"n": b"2"})) is True
    client.putcat(b"b", joined({b"m": b"x"}))
    assert client.get(b"b") == b"n\x002\0m\0x"
    assert client.columns(b"b") == {b"n": b"2", b"m": b"x"}
    assert client.columns(b"c") is None
    assert client.mget([b"a", b"c", b"b"]).keys() == {b"a", b"b"}
    assert client.vsiz(b"c") is None
    assert client.fwmkeys(b"") == [b"a", b"b"]
    assert len(client.fwmkeys(b"", 1)) == 1
    client.iterinit()
    assert {client.iternext(), client.iternext()} == {b"a", b"b"}
    assert client.iternext() is None
    assert client.rnum() == 2
    assert client.size() > 0
    assert client.stat()["type"] == "table"
    assert client.genuid() < client.genuid()
    steps = [b"addcond\0n\0NUMGE\0001", b"setorder\0n\0NUMDESC", b"setlimit\0001\0000"]
    assert client.search(steps) == [b"b"]
    assert client.search([steps[0], b"next", steps[0]], meta=True) == [b"a", b"b"]
    client.put_columns(b"nul", {b"n": b"\0"})
    assert client.columns(b"nul") == {b"n": b"\0"}
    assert (client.out(b"nul"), client.out(b"nul")) == (True, False)
    client.sync()
    client.copy(str(tmp_path / "copy.tct"))
    assert (tmp_path / "copy.tct").exists()
    client.optimize()
    client.vanish()
    assert client.rnum() == 0
    with pytest.raises(Error, match="refused copy"):
        client.copy("/no/such/folder/x")
    assert client.misc("no such function") is None
    with pytest.raises(Error, match="refused no such function"):
        client.changed("no such function", [])
    client.close()


def raw(tyrant: Tyrant) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(20)
    made.connect(tyrant.socket)
    return made


def test_a_request_in_pieces_and_a_socket_closed_on_one_side(tyrant: Tyrant) -> None:
    with raw(tyrant) as connection:
        request = b"\xc8\x10" + struct.pack(">II", 1, 3) + b"k" + b"a\0b"
        for byte in request:
            connection.sendall(bytes([byte]))
            time.sleep(0.001)
        assert connection.recv(10) == b"\0"
        connection.sendall(b"\xc8\x30" + struct.pack(">I", 1) + b"k")
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(100):
            answer += chunk
        assert answer == b"\0\0\0\0\3a\0b"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\xc8\x30" + struct.pack(">I", 1 << 30),
        b"\xc8\x90" + struct.pack(">III", 3, 0, 1 << 21),
        b"\xc8\x30\0\0",
    ],
    ids=["too long", "too many", "cut short"],
)
def test_requests_that_make_no_sense(tyrant: Tyrant, request_bytes: bytes) -> None:
    with raw(tyrant) as connection:
        connection.sendall(request_bytes)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(10) == b""
    client = RDB(tyrant.socket)
    assert client.rnum() == 0  # the server is none the worse
    client.close()
