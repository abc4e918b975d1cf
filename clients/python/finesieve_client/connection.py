"""Decide how a server is reached: its address, TLS, token, retries and limits of the channel."""

import ipaddress
import json
import re
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import grpc

from finesieve_client.contract import REPEATABLE

DEFAULT_TARGET = "localhost:50051"
DEFAULT_TIMEOUT_S = 30.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024
# What a call may hold to be tried again: more than the server takes.
MAX_RETRY_BYTES = 64 * 1024 * 1024
_HOST_AND_PORT = re.compile(r"(?:dns:///)?(?:\[([0-9A-Fa-f:.]+)\]|([0-9A-Za-z.-]+))(?::[0-9]+)?")

# gRPC obeys the server's grpc-retry-pushback-ms before any of these waits.
RETRY_POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.2s",
    "maxBackoff": "5s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
}
SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [
                {"service": f"finesieve.v1.{method.service}", "method": method.name}
                for method in REPEATABLE
            ],
            "retryPolicy": RETRY_POLICY,
        }
    ],
}


@dataclass(frozen=True, slots=True)
class Tls:
    """Speak TLS. Without `root_certificates` the system's authorities are trusted.

    `client_certificate` and `client_key` together prove who the client is. `server_name` is what
    the server's certificate must name where that is not the host in the target. All files are PEM.
    """

    root_certificates: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    server_name: str = ""

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files; raises OSError where one cannot be read."""
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("client_certificate and client_key belong together; one is missing")
        return grpc.ssl_channel_credentials(
            root_certificates=_read(self.root_certificates),
            private_key=_read(self.client_key),
            certificate_chain=_read(self.client_certificate),
        )


@dataclass(frozen=True, slots=True)
class Connection:
    """All that a channel to one server is made of.

    `target` is "host:port", or any gRPC target; calls take turns over all addresses of its name.
    `token` travels as a bearer token, and only over TLS or to this same machine.
    """

    target: str = DEFAULT_TARGET
    tls: Tls | None = None
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.token and self.tls is None and not is_loopback(self.target):
            raise ValueError(f"a token would travel to {self.target} in the clear; speak TLS")

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what every call carries."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def options(self) -> list[tuple[str, str | int]]:
        """Return the channel's arguments."""
        options: list[tuple[str, str | int]] = [
            ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
            ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
            ("grpc.max_send_message_length", -1),  # the server says what is too long
            ("grpc.per_rpc_retry_buffer_size", MAX_RETRY_BYTES),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.http2.ping_timeout_ms", 20_000),  # grpcio 1.85 ignores keepalive_timeout_ms
            ("grpc.primary_user_agent", f"finesieve-python/{version('finesieve')}"),
        ]
        if self.tls is not None and self.tls.server_name:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        if is_loopback(self.target):
            options.append(("grpc.enable_http_proxy", 0))  # that is another machine
        return options

    def channel(self) -> grpc.Channel:
        """Open a synchronous channel; nothing is sent before the first call."""
        if self.tls is None:
            return grpc.insecure_channel(self.target, self.options())
        return grpc.secure_channel(self.target, self.tls.credentials(), self.options())

    def async_channel(self) -> grpc.aio.Channel:
        """Open an asynchronous channel, bound to the running event loop."""
        if self.tls is None:
            return grpc.aio.insecure_channel(self.target, self.options())
        return grpc.aio.secure_channel(self.target, self.tls.credentials(), self.options())


def is_loopback(target: str) -> bool:
    """Tell whether a target can only mean this same machine; what is not understood may not."""
    if target.startswith("unix:"):
        return True
    address = _HOST_AND_PORT.fullmatch(target)
    if address is None:
        return False
    host = address[1] or address[2]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(path: Path | None) -> bytes | None:
    return None if path is None else path.read_bytes()
