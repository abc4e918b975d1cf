"""Run the real server with tenants that callers name themselves, as credentials will name them.

python -m benchmarks.overload.tenant_server [the server's own flags]
"""

import asyncio
import sys

from benchmarks.open_loop import TENANT_KEY
from finesieve_server.app import serve
from finesieve_server.config import read_settings
from finesieve_server.rpc.visit import Context
from finesieve_server.telemetry import configure_logging


def tenant_of(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == TENANT_KEY:
            return str(value)
    return "default"


if __name__ == "__main__":
    settings = read_settings(sys.argv[1:])
    configure_logging(settings.log_level)
    asyncio.run(serve(settings, tenant_of=tenant_of))
