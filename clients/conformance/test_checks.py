"""Each client passes the checks of its own folder: format, lint, unit tests, generated code."""

from clients.conformance.drivers import Language, run


def test_a_client_passes_its_own_checks(checked: Language) -> None:
    run(checked.folder / "check")
