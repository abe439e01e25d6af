"""Start the server from the command line: check what was asked for, take the port, run until interrupted."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import threading
import webbrowser
from collections.abc import Sequence

import uvicorn

from cutaway.runs import BadInput
from cutaway.serve.app import create_app
from cutaway.serve.gate import Access, is_loopback
from cutaway.serve.offers import offers

MIN_TOKEN = 16
"""Characters in a token; fewer could be guessed."""


def serve(
    refs: Sequence[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    open_browser: bool = False,
) -> None:
    """Serve models until interrupted.

    Args:
        refs: model references; of a run, every finished stage is offered.
        host: name or address to listen on. Off loopback a token is needed.
        port: 0 for any free one.
        token: what every request must carry as `Authorization: Bearer TOKEN`.
        open_browser: show the page in the person's browser.

    Raises:
        BadInput: no such model, no such address, a port in use, or no token off loopback.
    """
    if token is not None and (len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable() or " " in token):
        raise BadInput(f"--token must be at least {MIN_TOKEN} ASCII characters without spaces")
    offered = offers(refs)
    offered[0].load()  # what is wrong with the model shows here, before anybody asks
    with listen(host, port) as listener:
        address, taken = listener.getsockname()[:2]
        local = is_loopback(address)
        if not local and token is None:
            raise BadInput(
                f"--host {host} lets other machines in, which needs --token with at least {MIN_TOKEN} characters; "
                "or leave out --host to serve this machine alone"
            )
        app = create_app(offered, access=Access(token=token, local_only=local))
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3)
        shown = socket.gethostname() if ipaddress.ip_address(address).is_unspecified else host
        url = f"http://{f'[{shown}]' if ':' in shown else shown}:{taken}/"
        # After "#", a browser keeps the token to itself; the page exchanges it for a cookie.
        page = f"{url}#token={token}" if token else url
        names = ", ".join(offer.name for offer in offered)
        print(f"Serving {names}\n  page  {page}\n  API   {url}v1\nCtrl-C stops the server.", flush=True)
        if open_browser:
            threading.Timer(0.5, webbrowser.open, [page]).start()
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn shuts down in order, then passes the signal on
            uvicorn.Server(config).run(sockets=[listener])


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
