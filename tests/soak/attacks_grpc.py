# SPDX-License-Identifier: Apache-2.0
"""What one hostile client does over gRPC, and what it may see.

An act takes a target and the time at which it ends, and counts outcomes. It
raises if the server answered as it never may.
"""

import collections
import os
import random
import socket
import struct
import time

import grpc
from tritonclient.grpc import service_pb2 as v2

import served

CALL_TIMEOUT_S = 60
LARGE_BYTES = 100_000_000
SERVICE = "/inference.GRPCInferenceService/"
INFER = SERVICE + "ModelInfer"
WATCH = "/quern.v1.KernelService/WatchKernelStatistics"
SUBMIT = "/quern.v1.GraphService/Submit"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
Code = grpc.StatusCode
# What a server may say to a client that asks for too much.
REFUSALS = {Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED,
            Code.CANCELLED}


def as_they_are(value: bytes) -> bytes:
    return value


def caller(channel: grpc.Channel, path: str):
    return channel.unary_unary(path, as_they_are, as_they_are)


def code_of(callable_, message: bytes, **options) -> grpc.StatusCode:
    try:
        callable_(message, timeout=CALL_TIMEOUT_S, **options)
    except grpc.RpcError as error:
        return error.code()
    return Code.OK


def names(codes: list) -> collections.Counter:
    return collections.Counter(code.name for code in codes)


def connect(target) -> socket.socket:
    host, port = target.grpc.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=10)


def flood(target, end: float) -> collections.Counter:
    """Many valid requests at once."""
    message = served.mlp_request("victim", batch=512).SerializeToString()
    codes = []
    with served.channel_to(target.grpc) as channel:
        infer = caller(channel, INFER)
        while time.monotonic() < end:
            futures = [infer.future(message, timeout=CALL_TIMEOUT_S)
                       for _ in range(32)]
            codes += [future.code() for future in futures]
    served.expect(set(codes) <= {Code.OK, *REFUSALS},
                  f"answers or refusals, got {names(codes)}")
    return names(codes)


def half_open(target, end: float) -> collections.Counter:
    """Connections that begin something and do not go on."""
    begins = [b"", PREFACE[:10], PREFACE, PREFACE + b"\0\0\4\1",
              # Headers that another frame would end.
              PREFACE + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\1\1\0\0\0\0\1\x82",
              # A frame of 16 MiB.
              PREFACE + b"\xff\xff\xff\0\0\0\0\0\1", os.urandom(200),
              b"GET / HTTP/1.1\r\nHost: x\r\n"]
    sockets = []
    try:
        for begin in begins * 3:
            sockets.append(connect(target))
            sockets[-1].sendall(begin)
        time.sleep(max(0, end - time.monotonic()))
    except OSError:
        pass  # There is a limit.
    for connection in sockets:
        connection.close()
    return collections.Counter(connections=len(sockets))


def headers(target, end: float) -> collections.Counter:
    """More metadata than anybody needs, large and many."""
    message = served.mlp_request("victim").SerializeToString()
    kinds = ([("x-large", "a" * (1 << 20))],
             [(f"x-{i}", "b" * 100) for i in range(2000)])
    codes = []
    while not codes or time.monotonic() < end:
        for metadata in kinds:
            with served.channel_to(target.grpc) as channel:
                codes.append(code_of(caller(channel, INFER), message,
                                     metadata=metadata))
    served.expect(Code.OK not in codes, "a refusal")
    return names(codes)


def giants(target, end: float) -> collections.Counter:
    """Tensors that say to be larger than they are, or than anything is."""
    shapes = [(1 << 62, 64), (1 << 40, 64), (1 << 32, 1 << 32), (-1, 64),
              (2**63 - 1, 2**63 - 1), (0, 1 << 62), (3,) * 40000, (2, 64)]
    codes = []
    with served.channel_to(target.grpc) as channel:
        while not codes or time.monotonic() < end:
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
                    codes.append(code_of(caller(channel, INFER),
                                         message.SerializeToString()))
    served.expect(set(codes) <= {Code.INVALID_ARGUMENT, *REFUSALS},
                  f"refusals, got {names(codes)}")
    return names(codes)


def malformed(target, end: float) -> collections.Counter:
    """Bytes that are no message, or nearly one."""
    randomness = random.Random(1)
    good = served.mlp_request("victim").SerializeToString()
    codes = []
    with served.channel_to(target.grpc) as channel:
        calls = [caller(channel, path) for path in (
            INFER, SERVICE + "ModelConfig", SERVICE + "Nothing", "/",
            "/quern.v1.GraphService/Load")]
        while len(codes) < 100 or time.monotonic() < end:
            data = bytearray(good)
            for _ in range(randomness.randint(1, 8)):
                data[randomness.randrange(len(data))] = randomness.randrange(
                    256)
            if randomness.random() < 0.3:
                data = data[:randomness.randrange(len(data))]
            codes.append(code_of(randomness.choice(calls), bytes(data)))
    # gRPC itself says INTERNAL to bytes that do not parse, UNKNOWN never.
    served.expect(Code.UNKNOWN not in codes,
                  f"errors of the sender, got {names(codes)}")
    return names(codes)


def cancels(target, end: float) -> collections.Counter:
    """Requests that are given up at once, or a moment later."""
    message = served.cnn_request("slow").SerializeToString()
    cancelled = 0
    with served.channel_to(target.grpc) as channel:
        infer = caller(channel, INFER)
        while time.monotonic() < end:
            futures = [infer.future(message) for _ in range(16)]
            time.sleep(random.random() * 0.02)
            cancelled += sum(future.cancel() for future in futures)
    return collections.Counter(cancelled=cancelled)


def slow_readers(target, end: float) -> collections.Counter:
    """Streams and large answers that nobody reads."""
    with served.channel_to(target.grpc) as channel:
        message = served.mlp_request("victim", batch=4096)
        watch = channel.unary_stream(WATCH, as_they_are, as_they_are)
        calls = [watch(b"") for _ in range(8)]
        calls += [caller(channel, INFER).future(message.SerializeToString())
                  for _ in range(8)]
        time.sleep(max(0, end - time.monotonic()))
        for call in calls:
            call.cancel()
    return collections.Counter(streams=len(calls))


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


def submissions(target, end: float) -> collections.Counter:
    """Graphs that never arrive whole, and ones that are none."""
    calls = []
    with served.channel_to(target.grpc) as channel:
        submit = channel.stream_unary(SUBMIT, as_they_are, as_they_are)

        def trickle():
            yield submit_header(1 << 30, random.randint(1, 3))
            yield submit_chunk(os.urandom(10000))
            while time.monotonic() < end:
                yield submit_chunk(os.urandom(10000))
                time.sleep(0.1)

        calls.append(submit.future(trickle(), timeout=CALL_TIMEOUT_S))
        for size in (0, 1, 1000, 1 << 20):
            for declared in (size, 0, (1 << 64) - 1):
                parts = [submit_header(declared, 1),
                         submit_chunk(os.urandom(size))]
                for given in (parts, parts[::-1], parts * 2, parts[1:]):
                    calls.append(submit.future(iter(given),
                                               timeout=CALL_TIMEOUT_S))
        time.sleep(max(0, end - time.monotonic()))
        codes = [call.code() for call in calls]
    served.expect(not {Code.OK, Code.UNKNOWN, Code.INTERNAL} & set(codes),
                  f"errors of the sender, got {names(codes)}")
    return names(codes)


def loads(target, end: float) -> collections.Counter:
    """Models with huge configurations, and names that lead elsewhere."""
    def load(model, **parameters):
        message = v2.RepositoryModelLoadRequest(model_name=model)
        for key, value in parameters.items():
            if isinstance(value, bytes):
                message.parameters[key].bytes_param = value
            else:
                message.parameters[key].string_param = value
        return message.SerializeToString()

    large = '{"parameters": {"' + "a" * LARGE_BYTES + '": {}}}'
    attempts = [
        load("../../etc"), load("/etc/passwd"), load("a\0b"), load("\u202e"),
        load("x" * 100_000), load(""), load("."), load("huge_config"),
        load("victim", config="{" * 100_000),
        load("victim", config="[" * 100_000),
        load("victim", config='{"max_batch_size": 1e999}'),
        load("victim", config="{}", **{"file:../../x": b"x"}),
        load("victim", config="{}", **{"file:/etc/passwd": b"x"}),
        load("victim", config="{}", **{"file:1/model.onnx": os.urandom(1000)}),
        load("victim", config=large)]
    codes = []
    with served.channel_to(target.grpc) as channel:
        call = caller(channel, SERVICE + "RepositoryModelLoad")
        while not codes or time.monotonic() < end:
            for attempt in attempts:
                codes.append(code_of(call, attempt))
                if codes and time.monotonic() > end:
                    break
    served.expect(not {Code.OK, Code.UNKNOWN, Code.INTERNAL} & set(codes),
                  f"errors of the sender, got {names(codes)}")
    return names(codes)


def resets(target, end: float) -> collections.Counter:
    """Streams opened and reset as fast as a socket takes them."""
    # POST, http, a path and an authority as literals without an index.
    block = (b"\x83\x86" + b"\x04" + bytes([len(INFER)]) + INFER.encode() +
             b"\x01\x01x" + b"\x0f\x10\x10application/grpc")
    size = struct.pack(">I", len(block))[1:]
    seen = collections.Counter()
    while time.monotonic() < end:
        try:
            with connect(target) as connection:
                connection.sendall(PREFACE + b"\0\0\0\4\0\0\0\0\0")
                for stream in range(1, 200_001, 2):
                    connection.sendall(
                        size + b"\x01\x04" + struct.pack(">I", stream) + block +
                        b"\0\0\4\3\0" + struct.pack(">II", stream, 8))
                    seen["streams"] += 1
                    if time.monotonic() > end:
                        break
        except OSError:
            seen["cut off"] += 1  # The server has had enough of it.
    return seen


def settings(target, end: float) -> collections.Counter:
    """Pings, settings and priorities, which all want some work."""
    ping = b"\0\0\x08\6\0\0\0\0\0" + b"12345678"
    setting = b"\0\0\x06\4\0\0\0\0\0" + b"\0\4\0\0\xff\xff"
    priority = b"\0\0\5\2\0\0\0\0\1" + b"\0\0\0\0\1"
    seen = collections.Counter()
    while time.monotonic() < end:
        try:
            with connect(target) as connection:
                connection.sendall(PREFACE + b"\0\0\0\4\0\0\0\0\0")
                while time.monotonic() < end:
                    connection.sendall((ping + setting + priority) * 10)
                    seen["frames"] += 30
        except OSError:
            seen["cut off"] += 1
    return seen


def idle(target, end: float) -> collections.Counter:
    """Connections that say nothing, as many as there may be."""
    return served.hold_idle(lambda: connect(target), end)


ACTS = {"grpc " + act.__name__: act for act in (
    flood, half_open, headers, giants, malformed, cancels, slow_readers,
    submissions, loads, resets, settings, idle)}
