"""See what quiet tenants lose when a noisy one comes to the same server."""

from dataclasses import dataclass

from benchmarks.open_loop import Arrival, Phase, Senders, Sent, due, poisson, share_in_time
from benchmarks.overload.multiples import WARM_S

QUIET = 9
# Every tenant's share is a tenth of the peak; the noisy one wants ten times that.
NOISE = 10.0
_NOISY = "noisy"


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Shares of calls answered in time."""

    quiet_calls: int
    quiet_alone: float
    quiet_beside: float
    worst_beside: float  # of the quiet tenants, the one that fared worst
    noisy: float

    @property
    def lost(self) -> float:
        """Goodput that the quiet ones lost; their calls are the same in both runs."""
        return 1 - self.quiet_beside / self.quiet_alone


def compare(
    senders: Senders, peak: float, *, rounds: int, seconds: float, deadline_s: float
) -> Neighbours:
    """Let the quiet tenants call alone, and again beside the noisy one, in turns."""
    share = peak / (QUIET + 1)
    alone: list[Sent] = []
    beside: list[Sent] = []
    for number in range(rounds):
        quiet: list[Arrival] = []
        for tenant in range(QUIET):
            seed = 100 * number + tenant
            quiet += poisson([Phase(share, seconds)], seed, f"quiet-{tenant}")
        noise = poisson([Phase(NOISE * share, seconds)], 100 * number + 99, _NOISY)
        for arrivals, seen in ((quiet, alone), ([*quiet, *noise], beside)):
            senders.launch(arrivals, deadline_s)
            seen.extend(due(senders.collect(), WARM_S, seconds - deadline_s))
        print(
            f"tenants, round {number + 1} of {rounds}: quiet ones in time "
            f"{share_in_time(alone):.1%} alone, {share_in_time(_quiet(beside)):.1%} beside",
            flush=True,
        )
    tenants = {each.tenant for each in alone}
    return Neighbours(
        quiet_calls=len(alone),
        quiet_alone=share_in_time(alone),
        quiet_beside=share_in_time(_quiet(beside)),
        worst_beside=min(share_in_time(_of(beside, tenant)) for tenant in tenants),
        noisy=share_in_time(_of(beside, _NOISY)),
    )


def _quiet(sent: list[Sent]) -> list[Sent]:
    return [each for each in sent if each.tenant != _NOISY]


def _of(sent: list[Sent], tenant: str) -> list[Sent]:
    return [each for each in sent if each.tenant == tenant]
