"""Start the server from the command line: check what was asked for, take the port, run until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from sse_starlette.sse import AppStatus

from cutaway.assistant.conversations import Conversations
from cutaway.infer.engines import EngineName, engine_of
from cutaway.infer.native import Precision, library
from cutaway.runs import BadInput, CutawayError
from cutaway.serve.app import create_app
from cutaway.serve.connection import patient
from cutaway.serve.gate import Access, is_loopback
from cutaway.serve.keys import Keys
from cutaway.serve.limits import Limits
from cutaway.serve.offers import offers
from cutaway.serve.record import log_to
from cutaway.serve.service import Service

MIN_TOKEN = 16
"""Characters in a token; fewer could be guessed."""
LAST_SECONDS = 3.0
"""Time for streams to say why they end, at the end of the time for answers to end; a quarter of that at most."""
LEAST_SECONDS = 1.0
"""Time that stopping may take in any case."""


def serve(
    refs: Sequence[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    keys: Path | None = None,
    limits: Limits | None = None,
    log: Path | None = None,
    log_content: bool = False,
    open_browser: bool = False,
    engine: EngineName = "cutaway",
    weights: Precision | None = None,
    history: str | Path | None = None,
) -> None:
    """Serve models until told to stop (Ctrl-C, SIGTERM); running answers are given `limits.drain_seconds` to end.

    Args:
        refs: model references; of a run, every finished stage is offered.
        host: name or address to listen on. Off loopback a token or keys are needed.
        port: 0 for any free one.
        token: what every request must carry as `Authorization: Bearer TOKEN`.
        keys: a file of keys, one of which every request must carry where it does not carry the token.
        limits: bounds on requests and on work.
        log: where the log goes, as lines of JSON; None for standard error.
        log_content: whether it holds what is asked and answered.
        open_browser: show the page in the person's browser.
        engine: what computes: our own, or another that is installed.
        weights: what it keeps the models' weights as; see `cutaway.infer.engines.engine_of`.
        history: where the page's conversations are kept, a file's path or a database's URL; None keeps none.

    Raises:
        BadInput: no such model, no such address, a port in use, a damaged file of keys, nothing that keeps others
            out off loopback, or an engine that is not installed or does not run the first model.
    """
    if token is not None and (len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable() or " " in token):
        raise BadInput(f"--token must be at least {MIN_TOKEN} ASCII characters without spaces")
    limits = limits or Limits()
    make = engine_of(engine, weights)
    known = Keys(keys) if keys is not None else None
    offered = offers(refs)
    first = offered[0].load()  # what is wrong with the model shows here, before anybody asks
    if engine == "cutaway":
        with contextlib.suppress(CutawayError):  # each engine says why it goes without
            library()  # built now, once a machine, and not while the first one to ask waits
    with listen(host, port) as listener:
        address, taken = listener.getsockname()[:2]
        local = is_loopback(address)
        if not local and token is None and known is None:
            raise BadInput(
                f"--host {host} lets other machines in, which needs --token with at least {MIN_TOKEN} characters or "
                "--keys; or leave out --host to serve this machine alone"
            )
        access = Access(token=token, local_only=local, keys=known)
        kept = None if history is None else Conversations(history)
        app = create_app(
            offered, access=access, limits=limits, engine=make, log_content=log_content, conversations=kept
        )
        if engine != "cutaway" and first.config.kind == "decoder":
            app.state.service.engine(offered[0].name, first)  # for the same reason: written, and opened, now
        shown = socket.gethostname() if ipaddress.ip_address(address).is_unspecified else host
        url = f"http://{f'[{shown}]' if ':' in shown else shown}:{taken}/"
        # After "#", a browser keeps the token to itself; the page exchanges it for a cookie.
        page = f"{url}#token={token}" if token else url
        names = ", ".join(offer.name for offer in offered)
        print(f"Serving {names}\n  page  {page}\n  API   {url}v1\nCtrl-C stops the server.", flush=True)
        if open_browser:
            threading.Timer(0.5, webbrowser.open, [page]).start()
        with log_to(log), contextlib.suppress(KeyboardInterrupt):
            # uvicorn shuts down in order, then passes the signal on.
            server(app, limits).run(sockets=[listener])


def server(app: FastAPI, limits: Limits) -> DrainingServer:
    """What runs an app within its limits."""
    # Streams are to end with their answers, not at once when the signal comes.
    AppStatus.disable_automatic_graceful_drain()
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        http=patient(limits.head_seconds),
        ws="none",
        limit_concurrency=limits.connections,
    )
    return DrainingServer(config, app.state.service, limits.drain_seconds)


class DrainingServer(uvicorn.Server):
    """Takes no connections once it was told to stop, lets running answers end, and then ends those that are left."""

    def __init__(self, config: uvicorn.Config, service: Service, drain_seconds: float) -> None:
        super().__init__(config)
        self.service = service
        self.drain_seconds = max(drain_seconds, LEAST_SECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop within `drain_seconds`, whatever still runs then."""
        last = min(LAST_SECONDS, self.drain_seconds / 4)
        # A daemon: it waits for the engines, and an end in time does not wait for it.
        closing = threading.Thread(target=self.service.close, name="closing", daemon=True)
        timer = asyncio.get_running_loop().call_later(self.drain_seconds - last, closing.start)
        try:
            async with asyncio.timeout(self.drain_seconds):
                await super().shutdown(sockets)
        except TimeoutError:
            for task in self.server_state.tasks:
                task.cancel()
        finally:
            timer.cancel()


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to `host` and `port`.

    Raises:
        BadInput: it cannot be had.
    """
    if not 0 <= port <= 65535:
        raise BadInput(f"--port {port} is not a port; ports go from 0 to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise BadInput(f"--host {host} is no address of this machine ({error})") from error
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere this option would let two programs share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise BadInput(f"port {port} on {host} is in use; choose another with --port") from error
        if error.errno == errno.EACCES:
            raise BadInput(f"port {port} on {host} may not be used by this account; choose one over 1023") from error
        raise BadInput(f"--host {host} is no address of this machine ({error.strerror})") from error
    return listener
