"""The service as a process of its own, as ``make demo`` starts it and the README tells."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests.example_app.watching import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(autouse=True)
def _everything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONFIRM_ORDERS")


def test_readmes_curls_show_an_orders_way() -> None:
    """The README's curls place an order, read it (soon confirmed), its invoice and the pools; Ctrl-C ends it in silence."""
    place, read, invoice, pools = curls_of_the_readme()
    with running_service() as (service, url), httpx2.Client(base_url=url) as client:
        placed = client.post(place["path"], content=place["data"], headers=place["headers"])
        order = placed.json()
        assert (placed.status_code, order["total"]) == (201, 2500)
        assert re.fullmatch(r"/orders/ada-[0-9a-f]{24}", read["path"])
        assert confirmed(client, order["id"]) == order | {"status": "confirmed"}
        assert re.fullmatch(r"/orders/ada-[0-9a-f]{24}/invoice", invoice["path"])
        assert client.get(f"/orders/{order['id']}/invoice").text.startswith(f"Invoice for order {order['id']}\n")
        health = client.get(pools["path"]).json()
        assert (health["status"], health["process_id"]) == ("pass", service.pid)
        assert {name: pool["totals"]["opened"] for name, pool in health["pools"].items()} == {
            "orders": 1,
            "events": 1,
            "confirmations": 1,
            "invoices": 1,
            "news": 1,
        }
        client.close()
        service.send_signal(signal.SIGINT)
        output, errors = service.communicate(timeout=20)
    assert (service.returncode, errors) == (0, "")
    assert "AZURE_COSMOS_ENDPOINT" not in output


def test_output_is_one_line_of_the_emulator_and_one_of_the_docs() -> None:
    """The first two lines say where the data is and where the documentation is; SIGTERM ends the service, as the signal does."""
    with running_service() as (service, url):
        with httpx2.Client(base_url=url) as client:
            assert client.get("/docs").status_code == 200
        service.send_signal(signal.SIGTERM)
        _, errors = service.communicate(timeout=20)
    assert (service.returncode, errors) == (-signal.SIGTERM, "")


def test_request_that_never_ends_does_not_hold_up_the_end() -> None:
    """A client that has sent half a request when Ctrl-C comes keeps the service from nothing, and nothing is complained of."""
    with running_service() as (service, url), httpx2.Client(base_url=url) as client:
        assert client.get("/orders", params={"customer": "ada"}).status_code == 200
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as half_a_request:
            half_a_request.sendall(b"POST /orders HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n")
            assert client.get("/health/live").status_code == 200
            service.send_signal(signal.SIGINT)
            _, errors = service.communicate(timeout=20)
    assert (service.returncode, errors) == (0, "")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PORT", "80000", "PORT: Input should be less than or equal to 65535\n"),
        (
            "AZURE_COSMOS_ENDPOINT",
            "shop",
            "AZURE_COSMOS_ENDPOINT: Input should be a valid URL, relative URL without a base\n",
        ),
    ],
)
def test_wrong_setting_ends_it_with_one_line(name: str, value: str, message: str) -> None:
    """A wrong setting gives exit status 2 and one line that names it, without a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "example_app"],
        env=os.environ | {name: value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


def test_port_that_is_taken_is_named() -> None:
    """When another process has the port, the service says so and ends with a status other than 0."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "example_app"],
            env=os.environ | {"PORT": port},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode in {1, 3}
    assert f"('127.0.0.1', {port}): address already in use" in done.stderr
    assert "Traceback" not in done.stderr


def confirmed(client: httpx2.Client, order_id: str) -> dict[str, Any]:
    """Read an order until it is placed no more, within 20 s."""
    until = time.monotonic() + 20
    while True:
        order: dict[str, Any] = client.get(f"/orders/{order_id}").json()
        if order["status"] != "placed" or time.monotonic() > until:
            return order


def curls_of_the_readme() -> list[dict[str, Any]]:
    """Read the README's curl commands: their paths, headers and data."""
    commands = re.findall(r"^\$ (curl (?:.*\\\n)*.*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    curls = []
    for words in map(shlex.split, commands):
        path = next(word for word in words if word.startswith("http")).removeprefix("http://127.0.0.1:8000")
        options = dict(pairwise(words))
        headers = dict([options["-H"].split(": ")]) if "-H" in options else {}
        curls.append({"path": path, "headers": headers, "data": options.get("-d")})
    return curls


@contextmanager
def running_service() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the service on a free port, where every warning is an error, and wait for its second line."""
    port = str(free_port())
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "example_app"],
        env=os.environ | {"PORT": port},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as service:
        try:
            assert service.stdout is not None
            emulator, docs = service.stdout.readline(), service.stdout.readline()
            assert re.fullmatch(
                r"No AZURE_COSMOS_ENDPOINT: using the local emulator at http://127\.0\.0\.1:\d+/ \(data is lost at exit\)\n",
                emulator,
            )
            assert docs == f"Orders: http://127.0.0.1:{port}/docs (Ctrl-C stops it)\n"
            yield service, f"http://127.0.0.1:{port}"
        finally:
            service.kill()
