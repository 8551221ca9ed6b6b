"""Files that need a parser are read in a process of their own, which may take only so much time and memory.

A small file may be made, or by a stray cell may happen, to take hours, all memory, or to end the process that reads it.
What a content was read as is remembered, so that several readers of a folder cost one process.
"""

import contextlib
import hashlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict

from otvet.i18n import _, interface_language
from otvet.responders.knowledge.reading.blocks import Block, Unreadable

MOST_SECONDS = 20.0
MOST_MEMORY = 1536 * 1024 * 1024
REMEMBERED = 500
_NEEDED = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")
"""Of the environment; keys and passwords stay here."""

_read: dict[tuple[str, bytes], str] = {}


def blocks(ending: str, content: bytes, seconds: float = MOST_SECONDS) -> list[Block]:
    """The blocks of a file of this kind. Raises Unreadable."""
    key = ending, hashlib.sha256(content).digest()
    answer = _read.get(key)
    if answer is None:
        if len(_read) >= REMEMBERED:
            _read.clear()
        answer = _read[key] = _asked(ending, content, seconds)
    found = json.loads(answer)
    if isinstance(found, str):
        raise Unreadable(found)
    return [Block(**one | {"rows": tuple(map(tuple, one["rows"]))}) for one in found]


def _asked(ending: str, content: bytes, seconds: float) -> str:
    """What the process answers, as JSON: the blocks, or why there are none."""
    environment = {name: os.environ[name] for name in _NEEDED if name in os.environ}
    try:
        done = subprocess.run(  # noqa: S603 - our own program; the ending is one of PARSED
            [sys.executable, "-m", __name__, ending],
            input=content,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment | {"OTVET_LANG": interface_language()},
            timeout=seconds,
            check=True,
        )
    except subprocess.TimeoutExpired:
        return json.dumps(_("it takes too long to read; save it as text"))
    except subprocess.CalledProcessError:
        return json.dumps(_("it takes too much memory to read; split it, or save it as text"))
    return done.stdout.decode()


def _answer(reader: Callable[[bytes], list[Block]]) -> None:
    """Read the file that comes in, and print its blocks or the reason."""
    with contextlib.suppress(ValueError, OSError):  # a machine that knows no such limit
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    told = os.dup(1)
    os.dup2(2, 1)  # what a parser prints is no answer
    try:
        found: object = [asdict(one) for one in reader(sys.stdin.buffer.read())]
    except Unreadable as error:
        found = str(error)
    with os.fdopen(told, "w", encoding="utf-8") as out:
        json.dump(found, out)


if __name__ == "__main__":
    from otvet.responders.knowledge.reading import kinds  # which imports this file

    _answer(kinds.PARSED[sys.argv[1]])
