#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reloads under load: no wrong answer, no failed one, no growth of memory."""

import sys
import time

from tritonclient.grpc import service_pb2 as v2

import served

THREADS = 8
SEEDS = (1, 2)
# Memory is measured from the tenth reload on, when heaps have met their sizes.
WARM = 10
MAX_GROWTH_MIB = 32


def reload(daemon, stub, seed: int) -> None:
    daemon.make_model("mlp", "mlp", seed)
    stub.RepositoryModelLoad(v2.RepositoryModelLoadRequest(model_name="mlp"))


def answer_of(daemon, message) -> bytes:
    return served.call(daemon.stub(), message).answer


def main() -> int:
    options = served.arguments(__doc__, times=50, seconds=0)
    with served.Daemon(options.bin, {"mlp": "mlp"}) as daemon:
        message = served.mlp_request("mlp")
        stub = daemon.stub()
        answers = {}  # By seed.
        for seed in SEEDS:
            reload(daemon, stub, seed)
            answers[seed] = answer_of(daemon, message)
        served.expect(len(set(answers.values())) == len(SEEDS),
                      "models that answer differently")
        callers = served.Callers(daemon, message, THREADS)
        begin = time.monotonic()
        reloads = 0
        sizes = []
        while (time.monotonic() - begin < options.seconds if options.seconds
               else reloads < options.times):
            seed = SEEDS[reloads % len(SEEDS)]
            reload(daemon, stub, seed)
            # Whoever asks after a load gets the model that was loaded.
            served.expect(answer_of(daemon, message) == answers[seed],
                          "the answer of the model that was loaded last")
            reloads += 1
            sizes.append(daemon.resident_mib())
        calls = callers.stop()
        served.check_answers(calls, set(answers.values()))
        daemon.stop(served.TIMEOUT_S)
    growth = sizes[-1] - sizes[min(WARM, len(sizes)) - 1]
    print(f"reload: {reloads} times under load, {served.figures(calls)}, "
          f"all right; memory {sizes[-1]:.0f} MiB, grew by {growth:.1f} MiB "
          f"since reload {min(WARM, len(sizes))}")
    served.expect(growth <= MAX_GROWTH_MIB,
                  f"a growth of at most {MAX_GROWTH_MIB} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
