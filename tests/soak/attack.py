#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A process full of hostile clients, at the lowest priority.

attack.py GRPC_ADDRESS HTTP_ADDRESS SECONDS PLAN, where PLAN is JSON: for each
client, the list of the acts that it goes through again and again. It prints
JSON: how often each act saw which outcome, and what broke a promise.
"""

import collections
import dataclasses
import itertools
import json
import os
import sys
import threading
import time
import traceback

import attacks_grpc
import attacks_http

ACTS = {**attacks_grpc.ACTS, **attacks_http.ACTS}
TURN_S = 2  # Of one act, for clients that have several.


@dataclasses.dataclass
class Target:
    grpc: str
    http: str


def be_a_client(target: Target, acts: list[str], number: int, end: float,
                outcomes: dict, errors: list) -> None:
    # Clients with the same acts begin at different ones.
    first = number % len(acts)
    for name in itertools.cycle(acts[first:] + acts[:first]):
        now = time.monotonic()
        if now >= end:
            return
        until = end if len(acts) == 1 else min(end, now + TURN_S)
        try:
            outcomes[name].update(ACTS[name](target, until))
        except Exception:  # For the harness.
            errors.append(f"{name}: {traceback.format_exc()}")
            return


def main() -> int:
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    target = Target(sys.argv[1], sys.argv[2])
    plan = json.loads(sys.argv[4])
    end = time.monotonic() + float(sys.argv[3])
    outcomes = collections.defaultdict(collections.Counter)
    errors = []
    threads = [
        threading.Thread(target=be_a_client,
                         args=(target, acts, i, end, outcomes, errors))
        for i, acts in enumerate(plan)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    json.dump({"outcomes": outcomes, "errors": errors}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
