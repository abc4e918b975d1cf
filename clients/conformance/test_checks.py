"""Each client passes the checks of its own folder: format, lint, unit tests, generated code."""

import pytest

from clients.conformance.drivers import Language, run


def test_a_client_passes_its_own_checks(language: Language) -> None:
    if language.name == "python":
        pytest.skip("`make check` checks it")

    run(language.folder / "check")
