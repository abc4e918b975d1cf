"""What the suite does with a driver that fails: it says so, with what the driver printed."""

import signal
import threading
import time
from pathlib import Path

import pytest

from clients.conformance.conformance_pb2 import Order
from clients.conformance.drivers import Driver, DriverError, Language, ScriptError, Tool, run

ORDER = Order(name="an order")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Return where a test writes a script."""
    path = tmp_path / "driver"
    path.touch(mode=0o755)
    return path


def written(script: Path, commands: str) -> Driver:
    script.write_text(f"#!/usr/bin/env bash\n{commands}\n", encoding="utf-8")
    return Driver(script, script.with_suffix(".log"))


def test_a_driver_that_dies_is_reported_with_what_it_printed_and_started_again(
    script: Path,
) -> None:
    with written(script, "echo as process $$ >&2; exit 3") as driver:
        reports = []
        for _ in range(2):
            with pytest.raises(DriverError, match=r"died; .* 'an order'; exit status 3") as raised:
                driver.carry_out(ORDER)
            reports.append(str(raised.value))

    assert all("as process" in report for report in reports)
    assert reports[0] != reports[1]


def test_a_driver_that_hangs_is_ended(script: Path) -> None:
    with (
        written(script, "echo thinking >&2; exec sleep 60") as driver,
        pytest.raises(DriverError, match=r"no outcome within 0.3 s(?s:.*)thinking"),
    ):
        driver.carry_out(ORDER, limit_s=0.3)


def test_a_person_who_interrupts_does_not_wait_for_a_driver_that_hangs(script: Path) -> None:
    started = time.monotonic()
    main = threading.get_ident()
    threading.Timer(1.0, signal.pthread_kill, (main, signal.SIGINT)).start()

    with written(script, "exec sleep 20") as driver, pytest.raises(KeyboardInterrupt):
        driver.carry_out(ORDER)

    assert time.monotonic() - started < 10


def test_a_driver_that_does_not_read_is_ended(script: Path) -> None:
    order = Order(name="x" * 10_000_000)

    with written(script, "exec sleep 60") as driver, pytest.raises(DriverError, match="no outcome"):
        driver.carry_out(order, limit_s=0.3)


def test_an_outcome_that_is_none_is_reported(script: Path) -> None:
    with (
        written(script, r"printf '\0\0\0\1x'; exec sleep 60") as driver,
        pytest.raises(DriverError, match="cannot be read"),
    ):
        driver.carry_out(ORDER)


def test_a_driver_is_started_once_and_ends_with_its_input(script: Path) -> None:
    with written(script, r"printf '\0\0\0\0\0\0\0\0'; exec cat > /dev/null") as driver:
        assert driver.carry_out(ORDER).response_count == 0
        assert driver.carry_out(ORDER).response_count == 0


def test_a_driver_that_ends_badly_is_reported(script: Path) -> None:
    driver = written(script, r"printf '\0\0\0\0'; cat > /dev/null; exit 4")
    driver.carry_out(ORDER)

    with pytest.raises(DriverError, match=r"ended badly(?s:.*)exit status 4"):
        driver.close()


def test_a_toolchain_that_is_missing_or_too_old_is_named() -> None:
    language = Language(
        "python", (Tool("bash", (99,)), Tool("no-such-command"), Tool("bash", (3,)))
    )

    assert "is older than 99" in language.lacking()
    assert "no no-such-command" in language.lacking()


def test_a_script_that_fails_is_reported_with_what_it_printed(script: Path) -> None:
    script.write_text("#!/usr/bin/env bash\necho said >&2; exit 5\n", encoding="utf-8")

    with pytest.raises(ScriptError, match=r"exit status 5\nsaid"):
        run(script)
