"""One call to make: which RPC, its request, its time limit. No channel yet."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, get_args

from google.protobuf.message import Message

from finesieve_client.contract import Method, Response

ClientMethod = TypeVar("ClientMethod", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Call(Generic[Response]):
    """One call to make. `timeout_s` None: the client's own limit."""

    method: Method[Any, Response]
    request: Message
    timeout_s: float | None = None

    def page_after(self, page: Any) -> "Call[Response] | None":
        """Return the call for the page after this one, or None where this was the last."""
        if not page.next_page_token:
            return None
        request: Any = type(self.request)()
        request.CopyFrom(self.request)
        request.page_token = page.next_page_token
        return replace(self, request=request)


def describe(method: ClientMethod, build: Callable[..., Call[Any]]) -> ClientMethod:
    """Give a client's method the name, text and parameters of the function that builds its call."""
    built = inspect.signature(build)
    client = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    (response,) = get_args(built.return_annotation)
    functools.update_wrapper(method, build)
    vars(method)["__signature__"] = built.replace(
        parameters=[client, *built.parameters.values()], return_annotation=response
    )
    return method
