"""A real gRPC server on a free port that answers as a test's functions say."""

import pkgutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any, NoReturn, Self

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2

import finesieve.v1

# Every method of the contract, by its HTTP/2 path.
METHODS: dict[str, MethodDescriptor] = {
    f"/{service.full_name}/{method.name}": method
    for module in pkgutil.iter_modules(finesieve.v1.__path__, "finesieve.v1.")
    if module.name.endswith("_pb2")
    for service in import_module(module.name).DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
HANDLERS = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
Answer = Callable[[Any, grpc.ServicerContext], Any]


class ScriptedServer:
    """Answers each RPC by the function of its name; counts the calls and keeps their metadata.

    `port` 0: any free one.
    """

    def __init__(
        self,
        answers: Mapping[str, Answer],
        credentials: grpc.ServerCredentials | None = None,
        port: int = 0,
    ) -> None:
        self.calls: list[str] = []
        self.metadata: list[dict[str, str]] = []
        self._answers = answers
        self._server = grpc.server(ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers((Handler(self._handler),))
        if credentials is None:
            self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        else:
            self.port = self._server.add_secure_port(f"127.0.0.1:{port}", credentials)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def add(self, add_servicer: Callable[[grpc.Server], None]) -> None:
        """Serve one more service."""
        add_servicer(self._server)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(grace=None).wait()

    def _handler(self, path: str) -> "grpc.RpcMethodHandler[Any, Any] | None":
        method = METHODS.get(path)
        if method is None or method.name not in self._answers:
            return None
        behaviour = self._answers[method.name]

        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            self.calls.append(method.name)
            self.metadata.append({key: str(value) for key, value in context.invocation_metadata()})
            return behaviour(request, context)

        return HANDLERS[method.client_streaming, method.server_streaming](
            answer,
            request_deserializer=GetMessageClass(method.input_type).FromString,
            response_serializer=GetMessageClass(method.output_type).SerializeToString,
        )


class Handler(grpc.GenericRpcHandler):
    def __init__(self, find: Callable[[str], "grpc.RpcMethodHandler[Any, Any] | None"]) -> None:
        self._find = find

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        return self._find(details.method)


def refuse(
    context: grpc.ServicerContext,
    code: grpc.StatusCode,
    message: str,
    *details: Message,
    metadata: Iterable[tuple[str, str]] = (),
) -> NoReturn:
    """End a call as finesieve's server does: with a status, its details, and trailers."""
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    binary = ("grpc-status-details-bin", status.SerializeToString())
    context.set_trailing_metadata((binary, *metadata))
    context.abort(code, message)
    raise AssertionError  # abort raises


def field_violation(field: str, description: str) -> error_details_pb2.BadRequest:
    violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
    return error_details_pb2.BadRequest(field_violations=[violation])


def retry_after(seconds: float) -> error_details_pb2.RetryInfo:
    info = error_details_pb2.RetryInfo()
    info.retry_delay.FromNanoseconds(round(seconds * 1e9))
    return info
