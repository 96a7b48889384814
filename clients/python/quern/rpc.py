# SPDX-License-Identifier: Apache-2.0
"""Calls to a server: the channel, its credentials, and errors as values.

The methods, their messages and whether they stream are read from the services'
descriptors, so there are no generated stubs.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any, Optional, Union

import grpc
from google.protobuf import message_factory

from quern._proto import (POOL, graph_service_pb2, grpc_service_pb2,
                          kernel_service_pb2)
from quern.errors import Error

Pem = Union[bytes, str, "os.PathLike[str]"]
"""A certificate or key: its PEM text as bytes, or the path of a file."""

GRAPHS = graph_service_pb2.DESCRIPTOR.package + ".GraphService"
KERNELS = kernel_service_pb2.DESCRIPTOR.package + ".KernelService"
V2 = grpc_service_pb2.DESCRIPTOR.package + ".GRPCInferenceService"


def _pem(source: Optional[Pem]) -> Optional[bytes]:
    if source is None or isinstance(source, bytes):
        return source
    return pathlib.Path(source).read_bytes()


class Channel:
    """A connection to one server; any thread may call."""

    def __init__(self, address: str, *, token: Optional[str], tls: bool,
                 root_certificates: Optional[Pem],
                 client_certificate: Optional[Pem],
                 client_key: Optional[Pem]) -> None:
        if (client_certificate is None) != (client_key is None):
            raise ValueError("expected a client's certificate and its key "
                             "together, got one of them")
        # The server has its own limit, and its message says which.
        options = [("grpc.max_send_message_length", -1),
                   ("grpc.max_receive_message_length", -1)]
        self._metadata = []
        if token is not None:
            self._metadata = [("authorization", f"Bearer {token}")]
        if tls or root_certificates is not None or client_key is not None:
            credentials = grpc.ssl_channel_credentials(
                _pem(root_certificates), _pem(client_key),
                _pem(client_certificate))
            self._channel = grpc.secure_channel(address, credentials, options)
        else:
            self._channel = grpc.insecure_channel(address, options)
        self._calls: dict[tuple[str, str], Any] = {}

    def close(self) -> None:
        self._channel.close()

    def call(self, service: str, method: str, request: Any,
             timeout: Optional[float]) -> Any:
        """The answer to one request, or to an iterator of requests.

        Raises Error with the status of the call.
        """
        try:
            return self._callable(service, method)(
                request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise _error(error) from None
        except ValueError as error:  # A channel that is closed.
            raise Error(grpc.StatusCode.CANCELLED, str(error)) from None

    def stream(self, service: str, method: str, request: Any,
               timeout: Optional[float]) -> Iterator[Any]:
        """The answers to one request; raises Error as call()."""
        answers = self.call(service, method, request, timeout)
        try:
            yield from answers
        except grpc.RpcError as error:
            raise _error(error) from None
        finally:  # Who stops reading does not keep the server at work.
            answers.cancel()

    def _callable(self, service: str, method: str) -> Any:
        known = self._calls.get((service, method))
        if known is not None:
            return known
        described = POOL.FindServiceByName(service).FindMethodByName(method)
        kind = "_".join("stream" if streams else "unary" for streams in
                        (described.client_streaming,
                         described.server_streaming))
        make = getattr(self._channel, kind)
        answer = message_factory.GetMessageClass(described.output_type)
        made = make(f"/{service}/{method}",
                    request_serializer=lambda m: m.SerializeToString(),
                    response_deserializer=answer.FromString)
        self._calls[(service, method)] = made
        return made


def _error(error: grpc.RpcError) -> Error:
    if isinstance(error, grpc.Call):
        return Error(error.code(), error.details() or "no message")
    return Error(grpc.StatusCode.UNKNOWN, str(error))


def chunks(content: bytes, size: int) -> Iterable[bytes]:
    return (content[at:at + size] for at in range(0, len(content), size))
