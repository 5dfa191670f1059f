"""Counts and measures of what happens, for Prometheus.

    from everact.metrics import make_asgi_app, make_wsgi_app, serve

Every running system is in `REGISTRY`, unless its settings say `metrics=False`. For a registry of your own, register
`COLLECTOR` there, or give it to one of the three.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from everact.metrics.catalogue import CATALOGUE as CATALOGUE
    from everact.metrics.exposition import Server as Server
    from everact.metrics.exposition import health_app as health_app
    from everact.metrics.exposition import make_asgi_app as make_asgi_app
    from everact.metrics.exposition import make_wsgi_app as make_wsgi_app
    from everact.metrics.exposition import serve as serve
    from everact.metrics.prometheus import COLLECTOR as COLLECTOR
    from everact.metrics.prometheus import REGISTRY as REGISTRY

_HOMES = {
    "CATALOGUE": "catalogue",
    "COLLECTOR": "prometheus",
    "REGISTRY": "prometheus",
    "Server": "exposition",
    "health_app": "exposition",
    "make_asgi_app": "exposition",
    "make_wsgi_app": "exposition",
    "serve": "exposition",
}


def __getattr__(name: str) -> Any:
    """Import what exposes metrics when it is first asked for: the engine counts without it."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
