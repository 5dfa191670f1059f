"""Handlers as coroutines in an asyncio application: a small crawler, with one client per actor.

Async handlers run on an event loop of everact's own, not on yours. What belongs to a loop is therefore opened in
`on_actor_start`, which runs there, and closed in `on_actor_stop`.
"""

import asyncio
import threading
from dataclasses import dataclass

from everact import ActorSystem, TaskContext, TaskHandler

PAGES = {"/": "/about /news", "/about": "", "/news": "/news/1", "/news/1": ""}


class Client:
    """Stands for an HTTP client, which belongs to the loop that it was opened on."""

    open_ones = 0
    asked_for_slow = threading.Event()

    async def open(self) -> None:
        self.loop = asyncio.get_running_loop()
        Client.open_ones += 1

    async def get(self, url: str) -> str:
        assert asyncio.get_running_loop() is self.loop
        if url == "/slow":
            self.asked_for_slow.set()
            await asyncio.Event().wait()  # it never answers
        await asyncio.sleep(0.01)
        return PAGES[url]

    async def close(self) -> None:
        Client.open_ones -= 1


@dataclass(frozen=True)
class FetchPage:
    url: str


class FetchPageHandler(TaskHandler[FetchPage]):
    concurrency = 2
    client: Client

    async def on_actor_start(self) -> None:
        self.client = Client()
        await self.client.open()

    async def on_actor_stop(self) -> None:
        await self.client.close()

    async def handle(self, task: FetchPage, ctx: TaskContext) -> list[str]:
        ctx.logger.info("fetching %s", task.url)
        text = await self.client.get(task.url)
        return text.split()

    async def on_completed(self, ctx: TaskContext) -> None:
        for url in ctx.result:
            ctx.dispatch(FetchPage(url))


async def main() -> None:
    async with ActorSystem("crawler", handlers=[FetchPageHandler]) as system:
        # Awaiting dispatch_async waits until the task is stored, awaiting its handle until the task has ended.
        front = await system.dispatch_async(FetchPage("/"))
        print("the front page links to", *await front)
        await system.wait_idle_async(timeout=10)
        print("pages crawled:", len(system.workflow(front.id).tasks))

        about, news = await system.dispatch_many_async([FetchPage("/about"), FetchPage("/news")])
        print("fetched side by side:", await asyncio.gather(about, news))

        slow = await system.dispatch_async(FetchPage("/slow"))
        await asyncio.to_thread(Client.asked_for_slow.wait, 10)
        await system.cancel_async(slow, reason="takes too long")  # CancelledError at the handler's next await
        print("the slow page was", (await system.wait_async(slow.id, timeout=10)).status)
    print("clients still open:", Client.open_ones)


if __name__ == "__main__":
    asyncio.run(main())
