"""A dry-run cannot trade: seen from its sockets, from the modules it loads, from the exchange."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from runner.sim.launch import Running, launch
from tests.app.simlab import TYPES, Lab
from tests.patience import PATIENCE_S

MARKS = (b"signature", b"x-mbx-apikey", b"x-bapi-", b"listenkey", b"recvwindow", b"timestamp=")
_MAIN = """
import atexit, sys
loaded = sys.argv.pop()
atexit.register(lambda: open(loaded, "w").write("\\n".join(sorted(sys.modules))))
from runner.cli.main import main
main()
"""


class Wire:
    """Passes connections on to a port of this machine and keeps all bytes that went there."""

    def __init__(self, target: int) -> None:
        self.sent: list[bytearray] = []
        self._target = target
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._door.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._door.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._door.accept()
            except OSError:
                return
            kept = bytearray()
            self.sent.append(kept)
            server = socket.create_connection(("127.0.0.1", self._target))
            for source, sink, keep in ((client, server, kept), (server, client, None)):
                threading.Thread(target=_pass_on, args=(source, sink, keep), daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket, kept: bytearray | None) -> None:
    try:
        while data := source.recv(65536):
            if kept is not None:
                kept += data
            sink.sendall(data)
    except OSError:
        pass
    finally:
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@contextmanager
def wired(sim: Running) -> Iterator[dict[tuple[str, str], Wire]]:
    """Put a wire in front of every endpoint of both exchanges, by (type, endpoint)."""
    wires: dict[tuple[str, str], Wire] = {}
    try:
        for kind in TYPES.values():
            for name, url in sim.endpoints[kind].items():
                if urlsplit(url).port:
                    wire = wires[kind, name] = Wire(urlsplit(url).port or 0)
                    sim.endpoints[kind][name] = re.sub(r":\d+", f":{wire.port}", url, count=1)
        yield wires
    finally:
        for wire in wires.values():
            wire.close()


def test_a_dry_run_signs_nothing_and_opens_no_private_socket(tmp_path: Path) -> None:
    """Keys are in the environment and `auth` is in the file: it makes no difference."""
    with launch(
        seed=7, exchanges=list(TYPES.values()), dislocations=False, limit_factor=100
    ) as sim:
        with wired(sim) as wires:
            lab = Lab(sim, tmp_path)
            path = lab.write()
            loaded = tmp_path / "modules"
            line = [sys.executable, "-c", _MAIN, "dry-run", str(path), "--json"]
            with lab.spawn([*line, "--state", str(tmp_path / "state"), str(loaded)]) as child:
                lab.until_trading(child, name="churn.paper")
                code, report, err = lab.stop(child)
        ledger = sim.ledger()
    assert code == 0, err
    assert sum(rule["fills"] for rule in report["rules"].values()) > 0, "it filled, on paper"
    assert report["kind"] == "dry-run" and report["paper"] is not None

    assert not any(each["requests"] or each["orders"] for each in ledger.values())
    for (kind, name), wire in wires.items():
        if name in ("private", "trade", "sapi"):
            assert wire.sent == [], f"{kind}: the dry-run spoke to {name}"
        everything = b"".join(bytes(each) for each in wire.sent).lower()
        assert not [mark for mark in MARKS if mark in everything], (kind, name)
        assert not re.search(rb"^(post|put|delete) ", everything, re.M), (kind, name)
    spoken = {name for (_, name), wire in wires.items() if wire.sent}
    assert {"rest", "public"} <= spoken, "the wires were really in between"

    names = loaded.read_text().splitlines()
    assert "runner.exchanges.binance_usdm.market" in names
    signers = [n for n in names if n.startswith("runner.exchanges.") and n.rsplit(".", 1)[1] in
               ("sign", "orders", "hmac_key", "user", "private") and "paper" not in n]  # fmt: skip
    assert signers == []
    assert not _kept(tmp_path, lab)


def _kept(folder: Path, lab: Lab) -> bool:
    """Whether any of the keys that were in the environment reached the state directory."""
    secrets = [value.encode() for value in lab.environment.values()]
    files = [each for each in (folder / "state").rglob("*") if each.is_file()]
    return any(secret in each.read_bytes() for each in files for secret in secrets)


@pytest.mark.campaign
def test_a_dry_run_needs_no_secret(tmp_path: Path) -> None:
    with launch(seed=7, exchanges=list(TYPES.values()), dislocations=False) as sim:
        lab = Lab(sim, tmp_path)
        path = lab.write()
        lab.environment.clear()
        done = subprocess.run(
            lab.command("dry-run", str(path), "--for", "1s", "--state", str(tmp_path / "state")),
            capture_output=True, text=True, env=lab.env(), timeout=PATIENCE_S, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "environment variable" not in done.stderr
