# SPDX-License-Identifier: Apache-2.0
"""Processes that take turns, so that they are compared and do not compete.

Each runs something of its own, and speaks this protocol, by lines:

    runner    {"engine": NAME, ...} when it is ready, {"error": TEXT} if it
              cannot be
    driver    run WARM_UPS COUNT
    runner    {"ns": [...]}, the times of COUNT runs after WARM_UPS others,
              and perhaps more about them
    driver    save FOLDER
    runner    {"dims": [[...], ...]}, having written the bytes of the results
              of its last run to FOLDER/0.bin, FOLDER/1.bin, ...

An answer may be {"error": TEXT} too. A runner ends when its standard input
does. Between turns a runner is stopped by a signal, not only idle: threads of
pools that wait by spinning would take the time of the one whose turn it is.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence


class RunnerError(Exception):
    """A runner said that it cannot, or ended."""


def pause(process: subprocess.Popen) -> None:
    """Stops a process, and returns when it is stopped or has ended."""
    process.send_signal(signal.SIGSTOP)
    if process.returncode is None:
        os.waitid(os.P_PID, process.pid,
                  os.WSTOPPED | os.WEXITED | os.WNOWAIT)


def resume(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGCONT)


class Runner:
    """A process that sleeps unless it is asked something."""

    def __init__(self, command: Sequence[object]):
        self._process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        try:
            self.introduction = self._listen()
        except RunnerError:
            self.close()
            raise
        pause(self._process)

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, line: str) -> dict:
        resume(self._process)
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            return self._listen()
        except BrokenPipeError as error:
            raise RunnerError(f"the runner {self._process.args[0]} has ended"
                              ) from error
        finally:
            pause(self._process)

    def run(self, warm_ups: int, count: int) -> dict:
        """What it says about `count` runs: at least their times."""
        return self.ask(f"run {warm_ups} {count}")

    def times(self, warm_ups: int, count: int) -> list[int]:
        """Nanoseconds of `count` runs."""
        return self.run(warm_ups, count)["ns"]

    def close(self) -> None:
        resume(self._process)
        try:
            self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _listen(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise RunnerError(
                f"the runner {self._process.args[0]} ended without an answer, "
                f"with status {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RunnerError(answer["error"])
        return answer


def runs_in(runner: Runner, seconds: float, least: int) -> int:
    """How often it runs in about that time."""
    begin = time.monotonic()
    fastest = min(runner.times(1, 2)) * 1e-9
    if time.monotonic() - begin < seconds:
        fastest = min(runner.times(0, 8)) * 1e-9
    return min(2000, max(least, round(seconds / fastest)))


def answers(runners: Mapping[str, Runner], rounds: int, seconds: float,
            least: int = 3) -> dict[str, list[dict]]:
    """What runners say, by name and round, about turns of about `seconds`,
    but of `least` runs at least."""
    counts = {name: runs_in(runner, seconds, least)
              for name, runner in runners.items()}
    said = {name: [] for name in runners}
    for _ in range(rounds):
        for name, runner in runners.items():
            count = counts[name]
            said[name].append(runner.run(max(1, count // 10), count))
    return said


def take(runners: Mapping[str, Runner], rounds: int, seconds: float
         ) -> dict[str, list[list[int]]]:
    """Nanoseconds by runner and round, in turns of about `seconds` each."""
    return {name: [turn["ns"] for turn in said]
            for name, said in answers(runners, rounds, seconds).items()}
