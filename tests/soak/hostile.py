#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that mean harm: the server lives, others are served, memory is bound.

One act of 64 clients follows the other, then all of them come at once. During
each, a client that means well asks another model over gRPC, over HTTP, and over
a new connection of HTTP each time, from another process, and must get the right
answer every time.

Attackers, server and neighbour share the processors, so attackers run at the
lowest priority, and each act is also directed at a second server of that
priority: what the neighbour of the first then suffers is the machine's share of
the harm, not the server's.
"""

import argparse
import collections
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import grpc

import attack
import served

MAX_IN_FLIGHT_BYTES = 256 << 20
# Above what it had before the first act. A request may be there as it was read
# and as it was decoded, beside its answer and what the allocator keeps of both.
MAX_GROWTH_MIB = 4 * (MAX_IN_FLIGHT_BYTES >> 20)
MODELS = {"well": "mlp", "victim": "mlp", "slow": "demo_cnn"}
PAUSE_S = 0.005
SETTLE_S = 1
GIVEN_BACK_S = 21
# Of the heap, where what is in use keeps pages of what is not.
MAX_KEPT_MIB = 256
WAYS = ("grpc", "http", "new")
HUGE_CONFIG_BYTES = 100_000_000


class Crowd:
    """Hostile clients in processes of their own, one for each processor."""

    def __init__(self, daemon: served.Daemon, acts: list[str], seconds: float):
        processes = os.cpu_count() or 1
        plans = [[acts] * (served.CLIENTS // processes)
                 for _ in range(processes)]
        self._processes = [
            subprocess.Popen(
                [sys.executable, pathlib.Path(attack.__file__), daemon.address,
                 daemon.http_address, str(seconds), json.dumps(plan)],
                stdout=subprocess.PIPE, text=True,
                # What is refused is no news.
                env={**os.environ, "GRPC_VERBOSITY": "NONE"})
            for plan in plans]

    def join(self) -> dict[str, collections.Counter]:
        """What the acts saw; raises if the server broke a promise to them."""
        outcomes = collections.defaultdict(collections.Counter)
        for process in self._processes:
            out, _ = process.communicate()
            served.expect(process.returncode == 0, "attackers that end well")
            said = json.loads(out)
            served.expect(not said["errors"], "\n".join(said["errors"][:1]))
            for act, seen in said["outcomes"].items():
                outcomes[act].update(seen)
        return outcomes


def watched(daemon: served.Daemon, work):
    """What `work` returns, and the most memory that the daemon had."""
    most = [daemon.resident_mib()]
    stopped = threading.Event()

    def watch():
        while not stopped.wait(0.05):
            most.append(daemon.resident_mib())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        return work(), max(most)
    finally:
        stopped.set()
        watcher.join()


def neighbour_beside(daemon: served.Daemon, work) -> tuple:
    """What the neighbour of `daemon` had during `work`, and its result."""
    neighbour = served.Neighbour(daemon, "well", WAYS, PAUSE_S)
    try:
        result = work()
    finally:
        calls = neighbour.stop_ways()
    return calls, result


def quantiles(calls: dict[str, list], way: str) -> str:
    return (f"{served.quantile_ms(calls[way], .5):.1f}/"
            f"{served.quantile_ms(calls[way], .99):.1f}")


def row(name: str, calls: dict, control: dict, quiet: dict, memory: float,
        seen: dict) -> str:
    """A line of the table: p50/p99 in milliseconds for each way."""
    cells = [name]
    for way in WAYS:
        ratio = (served.quantile_ms(calls[way], .99) /
                 max(served.quantile_ms(quiet[way], .99),
                     served.quantile_ms(control[way], .99)))
        cells.append(f"{quantiles(quiet, way)} | {quantiles(control, way)} | "
                     f"{quantiles(calls, way)} | {ratio:.1f}")
    cells.append(f"{memory:.0f}")
    return f"| {' | '.join(cells)} | " + ", ".join(
        f"{n} {what}" for what, n in sorted(seen.items())) + " |"


class Stage:
    """A server with a neighbour, and another one that shares its machine."""

    def __init__(self, options: argparse.Namespace):
        flags = ("--max-pending-per-model", "256",
                 "--max-bytes-in-flight", str(MAX_IN_FLIGHT_BYTES),
                 *options.flag)
        self.daemon = served.Daemon(options.bin, MODELS, *flags)
        self.other = served.Daemon(options.bin, MODELS, *flags)
        for daemon in (self.daemon, self.other):
            daemon.make_model("huge_config", "mlp", seed=1)
            with open(daemon.folder / "models/huge_config/config.pbtxt",
                      "w") as file:
                file.write('name: "' + "a" * HUGE_CONFIG_BYTES + '"')
        for task in os.listdir(f"/proc/{self.other.process.pid}/task"):
            os.sched_setscheduler(int(task), os.SCHED_IDLE, os.sched_param(0))
        self.right = served.call(self.daemon.stub(),
                                 served.mlp_request("well"))
        served.expect(self.right.code == grpc.StatusCode.OK,
                      f"an answer, got {self.right.message}")
        self.quiet = None

    def __enter__(self):
        return self

    def __exit__(self, *arguments):
        self.daemon.__exit__(*arguments)
        self.other.__exit__(*arguments)

    def attack(self, name: str, acts: list[str], seconds: float,
               before_mib: float) -> None:
        # Stopped while it is not attacked, it costs nothing.
        self.other.process.send_signal(signal.SIGSTOP)
        quiet, _ = neighbour_beside(self.daemon, lambda: time.sleep(seconds))
        self.other.process.send_signal(signal.SIGCONT)
        control, _ = neighbour_beside(
            self.daemon, lambda: Crowd(self.other, acts, seconds).join())
        self.other.process.send_signal(signal.SIGSTOP)
        calls, (seen, memory) = neighbour_beside(
            self.daemon, lambda: watched(
                self.daemon,
                lambda: Crowd(self.daemon, acts, seconds).join()))
        total = seen[acts[0]] if len(acts) == 1 else {
            act: sum(counts.values()) for act, counts in seen.items()}
        print(row(name, calls, control, quiet, memory, total), flush=True)
        for own in calls.values():
            served.check_answers(own, {self.right.answer})
            served.expect(bool(own), "others to be served")
        served.expect(self.daemon.process.poll() is None, "quernd to live")
        served.expect(memory - before_mib <= MAX_GROWTH_MIB,
                      f"memory to grow by at most {MAX_GROWTH_MIB} MiB above "
                      f"{before_mib:.0f} MiB, got {memory:.0f} MiB")
        time.sleep(SETTLE_S)

    def memory_after(self) -> float:
        """MiB, when what the acts left has been given back to the system."""
        time.sleep(GIVEN_BACK_S)
        return self.daemon.resident_mib()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bin", type=pathlib.Path,
                        help="the folder of the programs")
    parser.add_argument("--seconds", type=float, default=60,
                        help="of all acts at once; one alone has a tenth")
    parser.add_argument("--act", action="append", default=[],
                        choices=[*attack.ACTS, "all"],
                        help="only these; all is all of them at once")
    parser.add_argument("--flag", action="append", default=[],
                        help="of the daemon, as --flag=--threads=1")
    options = parser.parse_args()
    print(f"hostile: {served.CLIENTS} clients on {os.cpu_count()} processors, "
          f"at most {served.connections_each() * served.CLIENTS} idle "
          f"connections; p50/p99 in ms: quiet | another is attacked | attacked "
          f"| ratio, over {', '.join(WAYS)}; memory in MiB; what attackers saw")
    with Stage(options) as stage:
        before = stage.daemon.resident_mib()
        for name in options.act or [*attack.ACTS, "all"]:
            if name == "all":
                stage.attack(name, list(attack.ACTS), options.seconds, before)
            else:
                stage.attack(name, [name], options.seconds / 10, before)
        after = stage.memory_after()
        stage.daemon.stop(served.TIMEOUT_S)
    served.expect(after - before <= MAX_KEPT_MIB,
                  f"at most {MAX_KEPT_MIB} MiB to be kept, got "
                  f"{after - before:.0f} MiB")
    print(f"hostile: memory {before:.0f} MiB before, {after:.0f} MiB after")
    return 0


if __name__ == "__main__":
    sys.exit(main())
