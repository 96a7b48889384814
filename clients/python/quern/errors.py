# SPDX-License-Identifier: Apache-2.0
"""What can go wrong.

A mistake that shows when an expression is written raises ValueError or
TypeError there, in the line that made it. What only the server knows raises
Error.
"""

from __future__ import annotations

import grpc


class Error(RuntimeError):
    """The server, or the way to it, refused a call."""

    code: grpc.StatusCode
    """Why, in gRPC's terms: INVALID_ARGUMENT, NOT_FOUND, UNAVAILABLE, .."""

    message: str
    """The server's words: what was expected and what came."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message
