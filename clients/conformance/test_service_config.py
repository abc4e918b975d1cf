"""The retry policy is the same in all languages: each carries a copy of what Python says."""

import json

import pytest

from clients.conformance.drivers import CLIENTS, LANGUAGES
from finesieve_client.connection import SERVICE_CONFIG

# Where builds and package managers put copies of their own.
MADE = {"node_modules", "target", "build", "dist"}


@pytest.mark.parametrize("name", [each.name for each in LANGUAGES if each.name != "python"])
def test_the_copy_of_the_service_config_is_pythons(name: str) -> None:
    folder = CLIENTS / name
    copies = [
        path
        for path in folder.rglob("service_config.json")
        if not MADE & set(path.relative_to(folder).parts)
    ]

    assert copies
    for path in copies:
        assert json.loads(path.read_text(encoding="utf-8")) == SERVICE_CONFIG, path
