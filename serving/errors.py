"""Errors that a client is told: one table of what they are over gRPC and over REST."""

import enum


class Code(enum.IntEnum):
    """gRPC's canonical codes: number on the wire, and TensorFlow Serving's status over HTTP."""

    http_status: int

    def __new__(cls, number: int, http_status: int = 0) -> "Code":
        code = int.__new__(cls, number)
        code._value_, code.http_status = number, http_status
        return code

    @property
    def is_fault(self) -> bool:
        """Whether it is the server's, and no mistake of the client's."""
        return self.http_status >= 500

    OK = 0, 200
    CANCELLED = 1, 499
    UNKNOWN = 2, 500
    INVALID_ARGUMENT = 3, 400
    DEADLINE_EXCEEDED = 4, 504
    NOT_FOUND = 5, 404
    ALREADY_EXISTS = 6, 409
    PERMISSION_DENIED = 7, 403
    RESOURCE_EXHAUSTED = 8, 429
    FAILED_PRECONDITION = 9, 400
    ABORTED = 10, 409
    OUT_OF_RANGE = 11, 400
    UNIMPLEMENTED = 12, 501
    INTERNAL = 13, 500
    UNAVAILABLE = 14, 503
    DATA_LOSS = 15, 500
    UNAUTHENTICATED = 16, 401


class ServingError(Exception):
    """What a client is told: a code and a sentence."""

    def __init__(self, code: Code, message: str):
        super().__init__(message)
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type["ServingError"], tuple[Code, str]]:
        """Goes from process to process."""
        return type(self), (self.code, self.message)


def invalid(message: str) -> ServingError:
    """What a client is told of its own mistake."""
    return ServingError(Code.INVALID_ARGUMENT, message)
