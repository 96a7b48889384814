#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that mean harm: the server lives, others are served, memory is bound.

One act follows the other. During each, a client that means well asks another
model every now and then, from another process, and must get the right answer
each time.
"""

import os
import random
import socket
import struct
import sys
import threading
import time

import grpc
from tritonclient.grpc import service_pb2 as v2

import served

MAX_GROWTH_MIB = 512  # Above what it had before the first act.
INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
SUBMIT = "/quern.v1.GraphService/Submit"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# What a server may say to a client that asks for too much.
REFUSALS = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


def as_they_are(value: bytes) -> bytes:
    return value


def in_threads(count: int, work) -> None:
    """Runs work(number) in `count` threads; raises what one of them raised."""
    errors = []

    def run(number):
        try:
            work(number)
        except Exception as error:  # For the caller.
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def expect_refused(multicallable, message, codes, what: str) -> None:
    try:
        multicallable(message, timeout=served.TIMEOUT_S)
    except grpc.RpcError as error:
        served.expect(error.code() in codes and error.details(),
                      f"{what} to be refused with one of {codes}, got "
                      f"{error.code()}: {error.details()}")
        return
    raise AssertionError(f"expected {what} to be refused")


def flood(daemon, seconds: float) -> str:
    """Many requests at once over many connections."""
    message = served.mlp_request("victim", batch=512)
    counts = {}
    end = time.monotonic() + seconds

    def work(_):
        with daemon.channel() as channel:
            infer = channel.unary_unary(
                INFER, v2.ModelInferRequest.SerializeToString, as_they_are)
            while time.monotonic() < end:
                futures = [infer.future(message, timeout=served.TIMEOUT_S)
                           for _ in range(256)]
                for future in futures:
                    code = future.code()
                    counts[code] = counts.get(code, 0) + 1

    in_threads(8, work)
    served.expect(counts.get(grpc.StatusCode.OK, 0) > 0, "some answers")
    served.expect(set(counts) <= {grpc.StatusCode.OK, *REFUSALS},
                  f"answers or refusals, got {counts}")
    return ", ".join(f"{n} {code.name}" for code, n in counts.items())


def half_open(daemon, seconds: float) -> str:
    """Connections that begin something and do not go on."""
    host, port = daemon.address.rsplit(":", 1)
    begins = [b"", PREFACE[:10], PREFACE, PREFACE + b"\0\0\4\1",
              # Headers that another frame would end.
              PREFACE + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\1\1\0\0\0\0\1\x82",
              # A frame of 16 MiB.
              PREFACE + b"\xff\xff\xff\0\0\0\0\0\1", os.urandom(200),
              b"GET / HTTP/1.1\r\nHost: x\r\n"]
    sockets = []
    for i in range(400):
        connection = socket.create_connection((host, int(port)))
        connection.sendall(begins[i % len(begins)])
        sockets.append(connection)
    time.sleep(seconds)
    for connection in sockets:
        connection.close()
    return f"{len(sockets)} connections"


def headers(daemon, seconds: float) -> str:
    """More metadata than anybody needs, large and many."""
    message = served.mlp_request("victim").SerializeToString()
    large = [("x-large", "a" * (1 << 20))]
    many = [(f"x-{i}", "b" * 100) for i in range(2000)]
    refused = 0
    end = time.monotonic() + seconds
    while refused == 0 or time.monotonic() < end:
        for metadata in (large, many):
            with daemon.channel() as channel:
                infer = channel.unary_unary(INFER, as_they_are, as_they_are)
                try:
                    infer(message, metadata=metadata,
                          timeout=served.TIMEOUT_S)
                except grpc.RpcError:
                    refused += 1
    return f"{refused} refused"


def giants(daemon, seconds: float) -> str:
    """Tensors that say to be larger than they are, or than anything is."""
    wrong = (grpc.StatusCode.INVALID_ARGUMENT,
             grpc.StatusCode.RESOURCE_EXHAUSTED)
    shapes = [(1 << 62, 64), (1 << 40, 64), (1 << 32, 1 << 32), (-1, 64),
              (2**63 - 1, 2**63 - 1), (0, 1 << 62), (3,) * 40000, (2, 64)]
    sent = 0
    end = time.monotonic() + seconds
    with daemon.channel() as channel:
        infer = channel.unary_unary(
            INFER, v2.ModelInferRequest.SerializeToString, as_they_are)
        while sent == 0 or time.monotonic() < end:
            for shape in shapes:
                for raw in (b"", b"\0" * 256, None):
                    message = v2.ModelInferRequest(model_name="victim")
                    tensor = message.inputs.add(name="features",
                                                datatype="FP32")
                    tensor.shape.extend(shape)
                    if raw is None:
                        tensor.contents.fp32_contents.extend([0.5] * 64)
                    else:
                        message.raw_input_contents.append(raw)
                    expect_refused(infer, message, wrong, f"a tensor {shape}")
                    sent += 1
    return f"{sent} refused"


def malformed(daemon, seconds: float) -> str:
    """Bytes that are no message, or nearly one."""
    randomness = random.Random(1)
    good = served.mlp_request("victim").SerializeToString()
    codes = {}
    end = time.monotonic() + seconds
    with daemon.channel() as channel:
        calls = [channel.unary_unary(INFER, as_they_are, as_they_are)]
        calls += [channel.unary_unary(path, as_they_are, as_they_are)
                  for path in ("/inference.GRPCInferenceService/ModelConfig",
                               "/inference.GRPCInferenceService/Nothing",
                               "/", "/quern.v1.GraphService/Load")]
        while sum(codes.values()) < 100 or time.monotonic() < end:
            data = bytearray(good)
            for _ in range(randomness.randint(1, 8)):
                data[randomness.randrange(len(data))] = randomness.randrange(
                    256)
            if randomness.random() < 0.3:
                data = data[:randomness.randrange(len(data))]
            try:
                randomness.choice(calls)(bytes(data),
                                         timeout=served.TIMEOUT_S)
                code = grpc.StatusCode.OK
            except grpc.RpcError as error:
                code = error.code()
            codes[code] = codes.get(code, 0) + 1
    # gRPC itself says INTERNAL to bytes that do not parse, UNKNOWN never.
    served.expect(grpc.StatusCode.UNKNOWN not in codes and
                  grpc.StatusCode.UNAVAILABLE not in codes,
                  f"errors of the sender, got {codes}")
    return ", ".join(f"{n} {code.name}" for code, n in codes.items())


def cancels(daemon, seconds: float) -> str:
    """Requests that are given up at once, or a moment later."""
    message = served.cnn_request("slow")
    cancelled = [0] * 4
    end = time.monotonic() + seconds

    def work(number):
        with daemon.channel() as channel:
            infer = channel.unary_unary(
                INFER, v2.ModelInferRequest.SerializeToString, as_they_are)
            while time.monotonic() < end:
                futures = [infer.future(message) for _ in range(64)]
                time.sleep(random.random() * 0.02)
                for future in futures:
                    cancelled[number] += future.cancel()

    in_threads(len(cancelled), work)
    return f"{sum(cancelled)} cancelled"


def slow_readers(daemon, seconds: float) -> str:
    """Streams whose answers nobody reads."""
    message = served.mlp_request("victim", batch=1024)
    end = time.monotonic() + seconds
    channels = []
    sent = [0] * 16

    def requests(number):
        while time.monotonic() < end:
            sent[number] += 1
            yield message

    for number in range(len(sent)):
        channel = daemon.channel()
        channels.append(channel)
        stream = channel.stream_stream(
            STREAM, v2.ModelInferRequest.SerializeToString, as_they_are)
        channels.append(stream(requests(number)))
    time.sleep(seconds)
    for channel in channels[1::2]:
        channel.cancel()
    for channel in channels[::2]:
        channel.close()
    return f"{len(sent)} streams took {sum(sent)} requests"


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def submit_header(size: int, content_format: int) -> bytes:
    """A SubmitRequest with a SubmitHeader with a hash that nothing has."""
    header = (b"\x0a\x20" + os.urandom(32) + b"\x10" + varint(size) + b"\x18" +
              varint(content_format))
    return b"\x0a" + varint(len(header)) + header


def submit_chunk(data: bytes) -> bytes:
    return b"\x12" + varint(len(data)) + data


def submissions(daemon, seconds: float) -> str:
    """Graphs that never arrive whole, and ones that are none."""
    end = time.monotonic() + seconds
    calls = []
    with daemon.channel() as channel:
        submit = channel.stream_unary(SUBMIT, as_they_are, as_they_are)

        def trickle(content_format):
            yield submit_header(1 << 30, content_format)
            while time.monotonic() < end:
                yield submit_chunk(os.urandom(10000))
                time.sleep(0.1)

        for content_format in (1, 2, 3) * 10:
            calls.append(submit.future(trickle(content_format),
                                       timeout=seconds + 5))
        for size in (0, 1, 1000, 1 << 20):
            for declared in (size, 0, (1 << 64) - 1):
                parts = [submit_header(declared, 1),
                         submit_chunk(os.urandom(size))]
                for given in (parts, parts[::-1], parts * 2, parts[1:]):
                    calls.append(submit.future(iter(given),
                                               timeout=served.TIMEOUT_S))
        time.sleep(seconds)
        codes = [call.code() for call in calls]
    served.expect(grpc.StatusCode.OK not in codes, "that none is taken")
    served.expect(grpc.StatusCode.UNKNOWN not in codes and
                  grpc.StatusCode.INTERNAL not in codes,
                  f"errors of the sender, got {set(codes)}")
    return ", ".join(f"{codes.count(code)} {code.name}"
                     for code in sorted(set(codes), key=str))


def resets(daemon, seconds: float) -> str:
    """Streams opened and reset as fast as a socket takes them."""
    host, port = daemon.address.rsplit(":", 1)
    opened = 0
    end = time.monotonic() + seconds
    # POST, http, a path and an authority as literals without an index.
    block = (b"\x83\x86" + b"\x04" + bytes([len(INFER)]) + INFER.encode() +
             b"\x01\x01x" + b"\x0f\x10\x10application/grpc")
    while time.monotonic() < end:
        with socket.create_connection((host, int(port))) as connection:
            connection.settimeout(1)
            try:
                connection.sendall(PREFACE + b"\0\0\0\4\0\0\0\0\0")
                for stream in range(1, 4001, 2):
                    connection.sendall(
                        struct.pack(">I", len(block))[1:] + b"\x01\x04" +
                        struct.pack(">I", stream) + block +
                        b"\0\0\4\3\0" + struct.pack(">II", stream, 8))
                    opened += 1
            except OSError:
                continue  # The server has had enough of this connection.
    return f"{opened} streams"


ACTS = (flood, half_open, headers, giants, malformed, cancels, slow_readers,
        submissions, resets)


def main() -> int:
    options = served.arguments(__doc__, seconds=45)
    each = options.seconds / len(ACTS)
    models = {"well": "mlp", "victim": "mlp", "slow": "demo_cnn"}
    with served.Daemon(options.bin, models, "--max-pending-per-model",
                       "256") as daemon:
        message = served.mlp_request("well")
        right = served.call(daemon.stub(), message)
        served.expect(right.code == grpc.StatusCode.OK,
                      f"an answer, got {right.message}")
        before = daemon.resident_mib()
        for act in ACTS:
            neighbour = served.Neighbour(daemon, "well")
            most = [before]
            stopped = threading.Event()

            def watch():
                while not stopped.wait(0.05):
                    most.append(daemon.resident_mib())

            watcher = threading.Thread(target=watch)
            watcher.start()
            try:
                said = act(daemon, each)
            finally:
                stopped.set()
                watcher.join()
                calls = neighbour.stop()
            print(f"hostile: {act.__name__}: {said}; others: "
                  f"{served.figures(calls)}; memory at most "
                  f"{max(most):.0f} MiB", flush=True)
            served.check_answers(calls, {right.answer})
            served.expect(bool(calls), "others to be served")
            served.expect(daemon.process.poll() is None, "quernd to live")
            served.expect(max(most) - before <= MAX_GROWTH_MIB,
                          f"memory to grow by at most {MAX_GROWTH_MIB} MiB "
                          f"above {before:.0f} MiB, got {max(most):.0f} MiB")
        after = daemon.resident_mib()
        daemon.stop(served.TIMEOUT_S)
    print(f"hostile: memory {before:.0f} MiB before, {after:.0f} MiB after")
    return 0


if __name__ == "__main__":
    sys.exit(main())
