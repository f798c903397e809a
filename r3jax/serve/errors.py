"""What a request is refused with: a status, and an error object as OpenAI's clients read it."""

from typing import Any

INVALID, SERVER = "invalid_request_error", "server_error"
_TYPES = {401: "authentication_error", 429: "rate_limit_error"}


class RequestError(Exception):
    """A request that is not answered: HTTP `status`, words for people, and for programs the
    parameter at fault and a code. `retry_s` is after how many seconds to try again."""

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        retry_s: int | None = None,
    ):
        super().__init__(message)
        self.status, self.param, self.code, self.retry_s = status, param, code, retry_s

    def as_json(self) -> dict[str, Any]:
        """The body of the response."""
        kind = _TYPES.get(self.status, SERVER if self.status >= 500 else INVALID)
        return {
            "error": {
                "message": str(self),
                "type": kind,
                "param": self.param,
                "code": self.code,
            }
        }


def wrong(param: str, expected: str, found: object) -> RequestError:
    """A part of a request that is not what it has to be."""
    return RequestError(400, f"{param}: expected {expected}, found {_shown(found)}", param)


def _shown(value: object) -> str:
    """A value in a few words: requests hold megabytes.

    >>> _shown("a" * 99), _shown([1, 2]), _shown(None)
    ("'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...'", 'a list', 'null')
    """
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:40] + "...")
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else _short(value)


def _short(number: object) -> str:
    """A whole number may have thousands of digits."""
    return f"a number of {number.bit_length()} bits" if number.bit_length() > 64 else str(number)
