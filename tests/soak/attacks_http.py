# SPDX-License-Identifier: Apache-2.0
"""What one hostile client does over HTTP, and what it may see.

An act takes a target and the time at which it ends, and counts outcomes: the
status of an answer, or how a connection ended. It raises if the server
answered as it never may.
"""

import collections
import itertools
import json
import os
import random
import socket
import time

import served

INFER = "/v2/models/victim/infer"
WAIT_S = 10  # For an answer. What is late counts as "silent".


def connect(target, receive_bytes: int = 0) -> socket.socket:
    host, port = target.http.rsplit(":", 1)
    connection = socket.socket()
    connection.settimeout(WAIT_S)
    if receive_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF,
                              receive_bytes)
    connection.connect((host, int(port)))
    return connection


def head(path: str = INFER, *lines: str, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: h", *lines, "",
                        ""]).encode()


def post(body: bytes, path: str = INFER, *lines: str) -> bytes:
    return head(path, f"Content-Length: {len(body)}", *lines) + body


def json_request(batch: int = 3, **tensor) -> bytes:
    values = [0.5] * (batch * 64)
    return json.dumps({"inputs": [{
        "name": "features", "datatype": "FP32", "shape": [batch, 64],
        "data": values, **tensor}]}).encode()


def binary_request(batch: int) -> bytes:
    """A whole request with its tensor behind the JSON."""
    data = served.mlp_request("", batch).raw_input_contents[0]
    text = json.dumps({"inputs": [{
        "name": "features", "datatype": "FP32", "shape": [batch, 64],
        "parameters": {"binary_data_size": len(data)}}],
        "parameters": {"binary_data_output": True}}).encode()
    return post(text + data, INFER,
                f"Inference-Header-Content-Length: {len(text)}")


class Answers:
    """Reads answers from a connection, one after the other."""

    def __init__(self, connection: socket.socket):
        self._connection = connection
        self._buffer = b""

    def _more(self) -> bool:
        data = self._connection.recv(1 << 16)
        self._buffer += data
        return bool(data)

    def next(self) -> str:
        """The status, or what came instead."""
        try:
            while b"\r\n\r\n" not in self._buffer:
                if not self._more():
                    return "closed"
            text, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
            status = text.split(b" ", 2)[1].decode()
            if status == "100":
                return self.next()
            length = int(text.lower().split(b"content-length: ")[1].split(
                b"\r\n")[0])
            while len(self._buffer) < length:
                if not self._more():
                    return "cut off"
            self._buffer = self._buffer[length:]
            return status
        except TimeoutError:
            return "silent"
        except ConnectionError:
            return "reset"


def send_and_ask(target, data: bytes) -> str:
    """What a connection of its own gets for bytes."""
    try:
        with connect(target) as connection:
            try:
                connection.sendall(data)
            except OSError:
                pass  # It may have been refused already.
            return Answers(connection).next()
    except OSError:
        return "refused"


def expect_refusals(seen: collections.Counter, *others: str) -> None:
    """Nothing that this counted is an answer, or an error of the server."""
    for status in seen:
        served.expect(
            status in others or not status.isdigit() or
            400 <= int(status) < 500 or status in ("501", "503", "505"),
            f"errors of the sender, got {dict(seen)}")


def attempts(target, end: float, requests: list[bytes],
             *others: str) -> collections.Counter:
    """Sends each of them, again and again, on connections of their own."""
    seen = collections.Counter()
    for request in itertools.cycle(requests):
        seen[send_and_ask(target, request)] += 1
        if time.monotonic() > end:
            break
    expect_refusals(seen, *others)
    return seen


def flood(target, end: float) -> collections.Counter:
    """Valid requests that do not wait for each other's answers."""
    request = binary_request(512)
    seen = collections.Counter()
    while time.monotonic() < end:
        try:
            with connect(target) as connection:
                answers = Answers(connection)
                while time.monotonic() < end and not seen["closed"]:
                    for _ in range(8):
                        connection.sendall(request)
                    seen.update(answers.next() for _ in range(8))
        except OSError:
            seen["reset"] += 1
    expect_refusals(seen, "200")
    return seen


def errors(target, end: float) -> collections.Counter:
    """Requests that fail early, as fast as they are answered."""
    requests = (head("/v2/models/nothing", method="GET") + head("/", method="PUT") +
                post(b"{}") + post(b"", "/v2/nothing"))
    seen = collections.Counter()
    while time.monotonic() < end:
        try:
            with connect(target) as connection:
                answers = Answers(connection)
                status = ""
                while time.monotonic() < end and status.isdigit() or not status:
                    connection.sendall(requests)
                    for _ in range(4):
                        status = answers.next()
                        seen[status] += 1
        except OSError:
            seen["reset"] += 1
    expect_refusals(seen)
    return seen


def malformed(target, end: float) -> collections.Counter:
    """Request lines and headers that are none."""
    host = b"Host: h\r\n\r\n"
    requests = [
        b"\r\n\r\n\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n" + host,
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\n" + host, b"G\xffT / HTTP/1.1\r\n" + host,
        b"GET / HTTP/1.1\nHost: h\n\n", b"GET / HTTP/1.1\r\n: x\r\n" + host,
        b"GET / HTTP/1.1\r\nA : x\r\n" + host,
        b"GET / HTTP/1.1\r\nA: x\r\n folded\r\n" + host,
        b"GET / HTTP/1.1\r\nA: \0\r\n" + host, b"\x16\x03\x01" + os.urandom(200),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", os.urandom(1000),
        b"POST " + INFER.encode() + b" HTTP/1.1\r\nContent-Length: -1\r\n" + host,
        b"POST " + INFER.encode() + b" HTTP/1.1\r\nContent-Length: 9\r\n" +
        b"Content-Length: 8\r\n" + host + b"123456789",
        b"POST " + INFER.encode() + b" HTTP/1.1\r\nContent-Length: 0x10\r\n" + host,
        b"POST " + INFER.encode() + b" HTTP/1.1\r\nContent-Length: " +
        b"9" * 40 + b"\r\n" + host]
    return attempts(target, end, requests)


def mutations(target, end: float) -> collections.Counter:
    """A good request with a few bytes changed, or cut off."""
    good = post(json_request())
    seen = collections.Counter()
    while not seen or time.monotonic() < end:
        data = bytearray(good)
        for _ in range(random.randint(1, 6)):
            data[random.randrange(len(data))] = random.randrange(256)
        try:
            with connect(target) as connection:
                connection.sendall(bytes(data))
                connection.shutdown(socket.SHUT_WR)
                seen[Answers(connection).next()] += 1
        except OSError:
            seen["reset"] += 1
    expect_refusals(seen, "200")
    return seen


def json_bombs(target, end: float) -> collections.Counter:
    """JSON that is deep, long, or full of numbers that are none."""
    def data(text: str) -> bytes:
        return post(json_request(data="@").replace(b'"@"', text.encode()))

    deep = 1_000_000
    requests = [
        post(b"[" * deep), post(b'{"a":' * deep), post(b"[" * deep + b"]" * deep),
        data("[" * deep), data("[" * deep + "]" * deep),
        data("[" + "1," * deep + "1]"), data("[" + "1" * deep + "]"),
        data("[1e999999999]"), data("[1e" + "9" * 10000 + "]"),
        data("[0." + "0" * deep + "1]"), data("[-]"), data("[NaN]"),
        data('["' + "\\u0000" * 100_000 + '"]'), data('["\\ud800"]'),
        post(b'{"inputs":[' + b"{}," * 100_000 + b"{}]}"),
        post(b'{' + b'"a":1,' * 300_000 + b'"a":1}'),
        post(b'"' + b"\xff" * 1000 + b'"'), post(b"\xef\xbb\xbf{}"),
        post(b" " * 1_000_000), post(json_request() + b"x"),
        post(json_request(shape=[1 << 62, 64])),
        post(json_request(shape=[1 << 32, 1 << 32])),
        post(json_request(shape=[-1, 64])), post(json_request(shape=[3] * 40000)),
        post(json_request(shape=[1e300])), post(json_request(name="x" * 1_000_000)),
        post(json_request(datatype="\u202e" * 1000)),
        post(b'{"inputs":[],"parameters":{' +
             b",".join(b'"p%d":1' % i for i in range(100_000)) + b"}}")]
    return attempts(target, end, requests)


def half_bodies(target, end: float) -> collections.Counter:
    """Bodies that are announced and never come whole."""
    sockets = []
    seen = collections.Counter()
    while time.monotonic() < end:
        try:
            sockets.append(connect(target))
            sockets[-1].sendall(head(INFER, "Content-Length: 1000000") +
                                b" " * random.choice((0, 1000, 500_000)))
            seen["held"] += 1
        except OSError:
            seen["refused"] += 1
            time.sleep(0.05)
        if len(sockets) == 16:
            sockets.pop(random.randrange(16)).close()
            time.sleep(0.01)
    for connection in sockets:
        connection.close()
    return seen


def slowloris(target, end: float) -> collections.Counter:
    """Heads and bodies of which a byte comes now and then."""
    texts = (head(INFER, "X: " + "x" * 1000), head() + b"", b"\r\n" * 1000,
             head(INFER, "Transfer-Encoding: chunked") + b"1\r\n \r\n" * 1000,
             head(INFER, "Content-Length: 1000") + b" " * 1000)
    seen = collections.Counter()
    slow = {}
    while time.monotonic() < end:
        try:
            while len(slow) < 32:
                slow[connect(target)] = iter(random.choice(texts))
                seen["begun"] += 1
        except OSError:
            seen["refused"] += 1
        for connection, text in list(slow.items()):
            try:
                connection.sendall(bytes([next(text)]))
            except (OSError, StopIteration):
                del slow[connection]
                connection.close()
                seen["ended"] += 1
        time.sleep(0.3)
    for connection in slow:
        connection.close()
    return seen


def slow_readers(target, end: float) -> collections.Counter:
    """Large answers that nobody reads."""
    request = binary_request(4096)
    sockets = []
    seen = collections.Counter()
    while time.monotonic() < end and len(sockets) < 8:
        try:
            sockets.append(connect(target, receive_bytes=4096))
            sockets[-1].settimeout(0.2)
            for _ in range(100):
                sockets[-1].sendall(request)
                seen["asked"] += 1
        except OSError:
            seen["stuck"] += 1  # It reads no more than it answers.
    time.sleep(max(0, end - time.monotonic()))
    for connection in sockets:
        connection.close()
    return seen


def headers(target, end: float) -> collections.Counter:
    """More headers than anybody needs: large, many, without an end."""
    requests = [
        head("/v2", "X: " + "x" * 1_000_000), head("/v2" + "/x" * 100_000),
        head("/v2", *[f"x-{i}: y" for i in range(100_000)]),
        head("/v2", *["x: y"] * 100_000), b"X" * 1_000_000,
        b"GET /v2 HTTP/1.1\r\n" + b"a:b\r\n" * 200_000]
    return attempts(target, end, requests)


def names(target, end: float) -> collections.Counter:
    """Names that lead elsewhere, or are no text."""
    odd = ("..", "../..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%00", "a%00b",
           "%ff%fe", "%E2%80%AE", "\u202e", "%", "%zz", "a" * 10_000, "*", "~",
           "%0d%0aX:%20y", "victim%2f..%2fwell", ".", "con", "$(id)", "{{7*7}}")
    requests = []
    for name in odd:
        encoded = name.encode().decode("latin-1")
        for path in ("/v2/models/{}/infer", "/v2/repository/models/{}/load",
                     "/v2/models/{}/versions/{}/infer",
                     "/v2/repository/models/{}/unload"):
            requests.append(post(b"{}", path.format(encoded, encoded)))
        requests.append(post(json_request(name=name)))
    requests = [r.decode("utf-8").encode("latin-1", "replace") for r in requests]
    return attempts(target, end, requests)


def lengths(target, end: float) -> collections.Counter:
    """Lengths that contradict each other, the body, or sense."""
    good = binary_request(3).split(b"\r\n\r\n", 1)[1]
    data = served.mlp_request("", 3).raw_input_contents[0]
    requests = []
    for length in ("-1", "1", str(len(good) + 1), "9" * 30, "x", "", "1e3",
                   "0x10", str(2**64), str(2**63)):
        requests.append(
            post(good, INFER, f"Inference-Header-Content-Length: {length}"))
    requests.append(post(good, INFER, "Inference-Header-Content-Length: 5",
                         "Inference-Header-Content-Length: 6"))
    for size in (-1, 1, len(data) - 1, len(data) + 1, 2**63, 2**64, 1e30, "x",
                 None, []):
        text = json.dumps({"inputs": [{
            "name": "features", "datatype": "FP32", "shape": [3, 64],
            "parameters": {"binary_data_size": size}}]}).encode()
        requests.append(post(text + data, INFER,
                             f"Inference-Header-Content-Length: {len(text)}"))
    twice = json.dumps({"inputs": [{
        "name": "features", "datatype": "FP32", "shape": [3, 64],
        "parameters": {"binary_data_size": 2**63 - 1}}] * 2}).encode()
    requests.append(post(twice + data, INFER,
                         f"Inference-Header-Content-Length: {len(twice)}"))
    return attempts(target, end, requests)


def chunks(target, end: float) -> collections.Counter:
    """Chunks that lie, or are too small and too many."""
    start = head(INFER, "Transfer-Encoding: chunked")
    smuggle = head(INFER, "Transfer-Encoding: chunked", "Content-Length: 4")
    requests = [
        start + b"ffffffffffffffff\r\n", start + b"fffffffffffffffff\r\n",
        start + b"-1\r\n", start + b"0x5\r\nhello\r\n0\r\n\r\n",
        start + b"5\nhello\n0\n\n", start + b"5\r\nhello!\r\n0\r\n\r\n",
        start + b"5;" + b"x" * 1_000_000 + b"\r\nhello\r\n0\r\n\r\n",
        start + b"1\r\n \r\n" * 300_000 + b"0\r\n\r\n",
        start + b"0\r\n" + b"a: b\r\n" * 100_000 + b"\r\n",
        start + b"0" * 1_000_000 + b"1\r\n \r\n0\r\n\r\n",
        smuggle + b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        head(INFER, "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
        head(INFER, "Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n",
        head(INFER, "Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n",
        head(INFER, "Content-Encoding: gzip", "Content-Length: 3") + b"\x1f\x8b\0"]
    return attempts(target, end, requests)


def loads(target, end: float) -> collections.Counter:
    """Loads with configurations and files that are too large, or no text."""
    def load(model: str, body) -> bytes:
        text = body if isinstance(body, bytes) else json.dumps(
            {"parameters": body}).encode()
        return post(text, f"/v2/repository/models/{model}/load")

    large = '{"parameters": {"' + "a" * 100_000_000 + '": {}}}'
    requests = [
        load("huge_config", {}), load("victim", {"config": "{" * 100_000}),
        load("victim", {"config": "[" * 100_000}),
        load("victim", {"config": "{}", "file:1/model.onnx": "!!!"}),
        load("victim", {"config": "{}", "file:../../x": "eA=="}),
        load("victim", {"config": "{}", "file:1/model.onnx": "eHh4"}),
        load("victim", {"config": {}}), load("victim", b"[" * 1_000_000),
        load("victim", {"config": large})]
    return attempts(target, end, requests)


def hang_ups(target, end: float) -> collections.Counter:
    """Requests whose senders are gone before the answer is there."""
    image = served.cnn_request("").raw_input_contents[0]
    text = json.dumps({"inputs": [{
        "name": "image", "datatype": "FP32", "shape": [1, 3, 64, 64],
        "parameters": {"binary_data_size": len(image)}}]}).encode()
    request = post(text + image, "/v2/models/slow/infer",
                   f"Inference-Header-Content-Length: {len(text)}")
    seen = collections.Counter()
    while time.monotonic() < end:
        try:
            with connect(target) as connection:
                connection.sendall(request)
                time.sleep(random.random() * 0.01)
                seen["hung up"] += 1
        except OSError:
            seen["refused"] += 1
    return seen


def connections(target, end: float) -> collections.Counter:
    """Connections that are opened and closed as fast as that goes."""
    seen = collections.Counter()
    while time.monotonic() < end:
        try:
            connect(target).close()
            seen["opened"] += 1
        except OSError:
            seen["refused"] += 1
    return seen


def idle(target, end: float) -> collections.Counter:
    """Connections that say nothing, as many as there may be."""
    return served.hold_idle(lambda: connect(target), end)


ACTS = {"http " + act.__name__: act for act in (
    flood, errors, malformed, mutations, json_bombs, half_bodies, slowloris,
    slow_readers, headers, names, lengths, chunks, loads, hang_ups, connections,
    idle)}
