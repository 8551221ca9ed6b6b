"""An engine in a process of its own, which tells on its standard output what it does. For test_engine."""

import asyncio
import sys
from datetime import timedelta

from otvet.answering.engine import Engine


async def main(url: str, me: str, *put_off: str) -> None:
    """put_off: turns to begin in an hour."""
    engine = Engine(url, me)

    async def job() -> None:
        print("job", flush=True)

    async def answer(turn_id: int) -> str:
        print(f"answered {turn_id}", flush=True)
        return "sent"

    def wake(turn_id: int) -> None:
        print(f"woken {turn_id}", flush=True)

    engine.every("job", 1, job)
    await engine.start(answer, wake)
    for turn_id in map(int, put_off):
        await engine.begin_later(f"turn-{turn_id}", turn_id, timedelta(hours=1))
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
