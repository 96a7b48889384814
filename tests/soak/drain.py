#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""SIGTERM under load: nothing that was accepted is lost.

Each request is answered right or refused with UNAVAILABLE; one that was on its
way well before the signal is answered; the daemon ends in time.
"""

import sys
import time

import grpc

import served

THREADS = 24
LOAD_S = 1.0
# Sent so long before the signal, a request has been accepted, on a machine
# that is not too busy to send it.
ACCEPTED_S = 0.5
END_S = 20.0


def drain_once(programs) -> tuple[float, int, int]:
    """The seconds until the end, requests answered and refused."""
    with served.Daemon(programs, {"cnn": "demo_cnn"},
                       "--contexts", "1") as daemon:
        message = served.cnn_request("cnn")
        right = served.call(daemon.stub(), message)
        served.expect(right.code == grpc.StatusCode.OK,
                      f"an answer, got {right.message}")
        callers = served.Callers(daemon, message, THREADS, until_error=True)
        time.sleep(LOAD_S)
        signalled = time.monotonic()
        took = daemon.stop(END_S)
        calls = callers.stop()
    served.check_answers(calls, {right.answer}, (grpc.StatusCode.UNAVAILABLE,))
    for one in calls:
        served.expect(one.code == grpc.StatusCode.OK or
                      one.begin > signalled - ACCEPTED_S,
                      f"that a request sent {signalled - one.begin:.2f} s "
                      f"before the signal is served, got {one.message}")
    answered = sum(c.code == grpc.StatusCode.OK for c in calls)
    after = sum(c.code == grpc.StatusCode.OK and c.end > signalled
                for c in calls)
    served.expect(after > 0, "answers after the signal")
    return took, answered, len(calls) - answered


def main() -> int:
    options = served.arguments(__doc__, times=20, seconds=0)
    begin = time.monotonic()
    slowest = 0.0
    answered = refused = times = 0
    while (time.monotonic() - begin < options.seconds if options.seconds
           else times < options.times):
        took, more_answered, more_refused = drain_once(options.bin)
        slowest = max(slowest, took)
        answered += more_answered
        refused += more_refused
        times += 1
    print(f"drain: {times} times, {answered} requests answered, "
          f"{refused} refused with UNAVAILABLE, none lost; "
          f"the slowest end took {slowest:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
