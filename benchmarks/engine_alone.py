"""What the workflow engine costs by itself: DBOS on a SQLite file, workflows of four steps that do nothing.

The other side of "turns a second", with the engine's file opened as Otvet opens it. Run as a process of its own by
benchmarks/answer.py; prints workflows a second.
"""

import asyncio
import sys
import time
from pathlib import Path

from dbos import DBOS, DBOSConfig

from otvet.answering.workflow_file import open_file

STEPS = 4


async def nothing() -> str:
    return "sent"


async def measure(folder: Path, count: int) -> float:
    url = f"sqlite:///{folder / 'alone.db'}"
    config: DBOSConfig = {
        "name": "alone",
        "system_database_url": url,
        "system_database_engine": open_file(url),
        "log_level": "WARNING",
    }
    DBOS(config=config)

    @DBOS.workflow(name="four_steps")
    async def workflow(_number: int) -> str:
        for number in range(STEPS):
            await DBOS.run_step_async({"name": f"step {number}"}, nothing)
        return "sent"

    DBOS.launch()
    try:
        began = time.perf_counter()
        handles = [await DBOS.start_workflow_async(workflow, number) for number in range(count)]
        for handle in handles:
            await handle.get_result()
        return count / (time.perf_counter() - began)
    finally:
        DBOS.destroy(destroy_registry=True)


if __name__ == "__main__":
    print(f"{asyncio.run(measure(Path(sys.argv[1]), int(sys.argv[2]))):.1f}")
