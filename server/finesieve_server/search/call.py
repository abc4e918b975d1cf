"""What travels with one call through every stage."""

from dataclasses import dataclass, field

from finesieve_server.telemetry import StageTimes


@dataclass(frozen=True, slots=True)
class Call:
    """Until when the caller waits (time.monotonic()), where the time went, and who asks.

    `request_id` is what every server's log calls it.
    """

    deadline: float
    times: StageTimes = field(default_factory=StageTimes)
    tenant: str = "default"
    request_id: str = ""
