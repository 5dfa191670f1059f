"""Where a Prometheus server scrapes: a WSGI app, an ASGI app, and a server of our own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import prometheus_client
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import ThreadingWSGIServer

from everact.metrics.prometheus import COLLECTOR, REGISTRY
from everact.metrics.snapshot import SOURCES

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def make_wsgi_app(registry: CollectorRegistry | None = None) -> WsgiApp:
    """A WSGI app that answers a scrape, to be mounted at `/metrics`: Flask, Django.

    Args:
        registry: Yours, to which everact's metrics are added if they are not in it; None for everact's own.
    """
    return prometheus_client.make_wsgi_app(_with_ours(registry))


def make_asgi_app(registry: CollectorRegistry | None = None) -> Any:
    """As `make_wsgi_app`, for ASGI: FastAPI, Starlette."""
    return prometheus_client.make_asgi_app(_with_ours(registry))


def _with_ours(registry: CollectorRegistry | None) -> CollectorRegistry:
    if registry is None:
        return REGISTRY
    try:
        registry.register(COLLECTOR)
    except ValueError:  # it is in there already
        return registry
    return registry


def health_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """A WSGI app for probes.

    `/healthz` is 200 while the process answers and no system of it is broken; `/readyz` also wants one that runs.
    The body says which systems there are, and how they are.
    """
    systems = {label: source.healthy() for label, source in SOURCES.all()}
    ready = environ.get("PATH_INFO") != "/readyz" or bool(systems)
    well = all(systems.values()) and ready
    body = json.dumps({"ok": well, "systems": {label: "ok" if each else "broken" for label, each in systems.items()}})
    status = "200 OK" if well else "503 Service Unavailable"
    start_response(status, [("Content-Type", "application/json"), ("Cache-Control", "no-store")])
    return [body.encode()]


class Server:
    """A server of our own, on a daemon thread: `/metrics`, `/healthz`, `/readyz`. Also a context manager.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, server: WSGIServer) -> None:
        self._server = server
        self.port = server.server_port
        self._thread = threading.Thread(target=server.serve_forever, name="everact/metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; a scrape that is under way is answered."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def serve(port: int = 9464, *, address: str = "127.0.0.1", registry: CollectorRegistry | None = None) -> Server:
    """Serve the metrics of this process, and its health, on a thread.

    Args:
        port: 0 for any that is free; the answer has it.
        address: Loopback unless you say otherwise: what is served names your tasks.
        registry: As for `make_wsgi_app`.

    Raises:
        OSError: The port is taken.
    """
    metrics = make_wsgi_app(registry)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("PATH_INFO") in ("/healthz", "/readyz"):
            return health_app(environ, start_response)
        if environ.get("PATH_INFO") in ("/", "/metrics"):
            return metrics(environ, start_response)
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"try /metrics, /healthz or /readyz\n"]

    return Server(make_server(address, port, app, ThreadingWSGIServer, handler_class=_Silent))


class _Silent(WSGIRequestHandler):
    """Scrapes come every few seconds; they are no news."""

    def log_message(self, format: str, *args: Any) -> None:  # the base class's words
        """Say nothing."""
