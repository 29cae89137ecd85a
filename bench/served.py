"""The service with a watch on its event loop: `python -m bench.served`, with the settings in the environment.

On SIGUSR1 it prints a line `held SECONDS waited SECONDS own SECONDS worked SECONDS in PLACE`, about the time since the
last one:

- held: the longest time during which the loop ran nothing else, or the processor time of the process in that time,
  where it is less, because other processes may use the processor as well. A thread that does not let others run holds
  the loop too.
- waited: how long of that time the loop's thread was ready and had no processor (on Linux; elsewhere 0): because of
  other processes, or of threads that do not need the interpreter.
- own: how long of that time the loop's thread worked. In what is left, it waited for the interpreter. Beside other
  processes, that is too little: a thread that waits for the interpreter wakes up every ms, and then for a processor.
- worked: the longest processor time of the loop's own thread, which no thread and no other process adds to.
- in: the functions of the registry that the loop's thread ran in its longest such time, innermost first. After
  `held by`, those of the other thread that kept the interpreter longest, or what it ran next.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from types import FrameType

from registry.cli import server
from registry.infra import sockets
from registry.infra.settings import Settings

INTERVAL = 0.001

LOOK_SECONDS = 0.005
"""Seconds between two looks. A look needs the interpreter as well. While it and the loop both wait for a thread, the
loop may lose its turn: beside one thread, the loop waited for up to 14 ms with a look each ms, and else for 1 to 2."""

SUSPICIOUS_SECONDS = 0.008
"""Work of the loop's thread without a pause, from which on it is looked at what it runs."""

SHOWN_FRAMES = 6


class Watch:
    """What held the event loop. A thread looks at what the loop runs while it pauses for nothing else."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._clock = time.pthread_getcpuclockid(self._thread)
        # Of this thread, which is the loop's.
        self._scheduled = os.open("/proc/thread-self/schedstat", os.O_RDONLY) if sys.platform == "linux" else None
        self._began = self._used()
        self._turn = 0
        self._seen: Counter[str] = Counter()
        self.clear()
        threading.Thread(target=self._look, daemon=True).start()

    def clear(self) -> None:
        """Forget what was found."""
        self._held = self._waited = self._own = self._worked = self._kept = 0.0
        self._place = self._holder = "nothing"

    def _used(self) -> float:
        return time.clock_gettime(self._clock)

    def _waited_until_now(self) -> float:
        """Seconds in which the loop's thread waited for a processor."""
        return int(os.pread(self._scheduled, 100, 0).split()[1]) / 1e9 if self._scheduled is not None else 0.0

    async def run(self) -> None:
        """Measure for ever."""
        loop = asyncio.get_running_loop()
        while True:
            before, process, waited = loop.time(), time.process_time(), self._waited_until_now()
            self._began = self._used()
            await asyncio.sleep(INTERVAL)
            worked = self._used() - self._began
            held = min(loop.time() - before - INTERVAL, time.process_time() - process)
            if held > self._held:
                self._held, self._waited = held, min(held, self._waited_until_now() - waited)
                self._own = min(held, worked)
            if worked > self._worked:
                self._worked = worked
                self._place = self._seen.most_common(1)[0][0] if self._seen else "nothing long"
            self._turn += 1
            self._seen.clear()

    def report(self) -> None:
        """Print what was found, and forget it."""
        places = f"{self._place}; held by {self._holder}"
        parts = f"held {self._held:.6f} waited {self._waited:.6f} own {self._own:.6f} worked {self._worked:.6f}"
        print(f"{parts} in {places}", flush=True)
        self.clear()

    def _look(self) -> None:
        clocks: dict[int, float] = {}
        while True:
            before, used = clocks, time.perf_counter()
            time.sleep(LOOK_SECONDS)
            slept = time.perf_counter() - used
            clocks = _processor_seconds()
            if slept > LOOK_SECONDS + SUSPICIOUS_SECONDS:
                self._note_holder(before, clocks)
            turn = self._turn
            if self._used() - self._began > SUSPICIOUS_SECONDS:
                place = _described(sys._current_frames().get(self._thread))
                if turn == self._turn:
                    self._seen[place] += 1

    def _note_holder(self, before: dict[int, float], clocks: dict[int, float]) -> None:
        """Note which other thread worked most while this one could not run."""
        others = (one for one in clocks if one not in (self._thread, threading.get_ident()) and one in before)
        seconds, thread = max(((clocks[one] - before[one], one) for one in others), default=(0.0, 0))
        if seconds > self._kept:
            self._kept = seconds
            self._holder = _described(sys._current_frames().get(thread))


def _processor_seconds() -> dict[int, float]:
    """The processor time of each thread until now."""
    clocks = {}
    for ident in (thread.ident for thread in threading.enumerate()):
        if ident is not None:  # it has started
            with suppress(OSError):  # it has just ended
                clocks[ident] = time.clock_gettime(time.pthread_getcpuclockid(ident))
    return clocks


def _described(frame: FrameType | None) -> str:
    functions: list[str] = []
    while frame is not None and len(functions) < SHOWN_FRAMES:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("registry.") or not functions:
            functions.append(f"{name.removeprefix('registry.')}.{frame.f_code.co_name}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(functions)


async def watch(url: str) -> None:
    """Start the watch."""
    loop, started = asyncio.get_running_loop(), Watch()
    loop.add_signal_handler(signal.SIGUSR1, started.report)
    tasks.add(loop.create_task(started.run()))


tasks: set[asyncio.Task[None]] = set()
"""Tasks that the event loop must not forget."""


def main() -> None:
    """Serve until a signal stops the process."""
    server.log_to_stderr()
    settings = Settings.read(os.environ)
    with sockets.bind(settings.host, settings.port) as bound:
        server.run(settings, bound, before_ready=watch)


if __name__ == "__main__":
    main()
