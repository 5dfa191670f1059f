"""A FastAPI application that does its background work with everact, and shows its metrics.

Run it with `uvicorn fastapi_app:app`; then `curl -X POST localhost:8000/orders/7` and `curl localhost:8000/metrics/`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from everact import ActorSystem, task
from everact.metrics import make_asgi_app


@task(name="ShipOrder")
def ship(order_id: int) -> str:
    return f"order {order_id} shipped"


system = ActorSystem("shop", handlers=[ship], storage="sqlite:///shop.db")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with system:
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/metrics", make_asgi_app())


@app.post("/orders/{order_id}")
async def order(order_id: int) -> dict[str, str]:
    """Accept an order: once this returns, it will be shipped, whatever happens to this process."""
    handle = await system.dispatch_async(ship.task(order_id))
    return {"task": str(handle.id)}


@app.get("/tasks/{task_id}")
async def status(task_id: str) -> dict[str, str | None]:
    """Tell what has become of a task."""
    record = system.get(task_id)
    return {"status": str(record.status), "result": record.result}


@app.get("/healthz")
async def health() -> dict[str, bool]:
    return {"ok": system.health().healthy}
