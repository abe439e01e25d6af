"""Starting the server from the command line."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import pytest
from sse_starlette.sse import AppStatus

from cutaway.runs.errors import BadInput
from cutaway.serve import Offer, launch, serve
from cutaway.serve.launch import listen


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch, lm: Any) -> None:
    monkeypatch.setattr(launch, "offers", lambda _: [Offer("demo", lambda: lm, "demo")])


def test_port_in_use(offered: None) -> None:
    with listen("127.0.0.1", 0) as other:
        port = other.getsockname()[1]
        with pytest.raises(BadInput, match=f"port {port} on 127.0.0.1 is in use; choose another with --port"):
            serve(["demo"], port=port)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": 70000}, "70000 is not a port"),
        ({"port": -1}, "-1 is not a port"),
        ({"host": "no-such-host.invalid"}, "no address of this machine"),
        ({"host": "192.0.2.1", "port": 0}, "no address of this machine"),
        ({"host": "0.0.0.0", "port": 0}, "needs --token"),
        ({"token": "short"}, "at least 16"),
        ({"token": "sixteen letters with ä"}, "at least 16"),
    ],
)
def test_bad_input(offered: None, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        serve(["demo"], **options)
    assert "\n" not in str(caught.value)


def test_runs_until_interrupted(
    offered: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AppStatus, "should_exit", False)  # put back after the test: a signal sets it for the process

    def interrupt() -> None:
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    serve(["demo"], port=0, token="0123456789abcdef")
    assert "#token=0123456789abcdef" in capsys.readouterr().out
