"""The shortest program: one function, dispatched as a durable task. Run it with `python examples/quickstart.py`.

It leaves its tasks in `demo.db`, in the working directory.
"""

from everact import ActorSystem, task


@task
def add(a: int, b: int) -> int:
    return a + b


if __name__ == "__main__":
    with ActorSystem(handlers=[add], storage="sqlite:///demo.db") as system:
        print(system.dispatch(add.task(1, 2)).result(timeout=5))
