"""A request that is not served: its status, one sentence for a person and a code for a program."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import TypedDict

from ..runtime.errors import EngineError, InputError

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk, and of a quota that is used up."""

FULL_DISK = "the server's disk is full; try again later"


class ErrorFields(TypedDict):
    """The error as OpenAI's API writes it."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(TypedDict):
    """The body of every response that is an error."""

    error: ErrorFields


class Refused(Exception):
    """A request that is not served."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None, retry: int | None = None
    ) -> None:
        """status: of HTTP. message: one sentence. param: the field that is wrong. retry: seconds to wait."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry = retry

    @property
    def close_code(self) -> int:
        """The code with which a socket is closed (RFC 6455): try again later for 503, else policy violation."""
        return 1013 if self.status == 503 else 1008

    @property
    def close_reason(self) -> str:
        """The sentence as a socket's close takes it: at most 123 bytes of UTF-8 (RFC 6455, section 5.5)."""
        return self.message.encode(errors="replace")[:123].decode(errors="ignore")

    def body(self) -> ErrorBody:
        """The same as JSON values."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


@contextlib.contextmanager
def room_on_disk() -> Iterator[None]:
    """Raise Refused (503) in place of the system's error where a disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise Refused(503, FULL_DISK, retry=10) from error


def refusal(error: BaseException) -> Refused:
    """Any error as a refusal; unexpected errors are not described to clients."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, InputError):
        return Refused(400, str(error))
    if isinstance(error, EngineError):
        return Refused(503, str(error), retry=5)
    return Refused(500, "the server failed at this request; its log says why", code="internal_error")
