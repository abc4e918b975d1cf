import base64

import pytest

from finesieve_server.errors import BadPageToken
from finesieve_server.rpc.pages import Listing

LISTING = Listing.of(b"passages", b"wiki", b"", b"FULL")


@pytest.mark.parametrize("key", ["a", "ü" * 128, "with space/+=", "\U0001f600"])
def test_a_token_leads_back_to_its_key(key: str) -> None:
    assert LISTING.after(LISTING.token(key)) == key


def test_no_token_is_the_first_page() -> None:
    assert LISTING.after("") == ""


@pytest.mark.parametrize(
    "token",
    [
        "garbage",
        "ünïcode",
        "\x00",
        "A",
        "=" * 40,
        "!" * 40,
        LISTING.token("a")[:-4],
        base64.urlsafe_b64encode(LISTING.digest + b"\xff\xfe").decode(),
        base64.urlsafe_b64encode(LISTING.digest).decode(),
        "A" * 1_000_000,
    ],
)
def test_a_token_that_was_never_given_is_refused(token: str) -> None:
    with pytest.raises(BadPageToken):
        LISTING.after(token)


def test_a_token_of_another_listing_is_refused() -> None:
    other = Listing.of(b"passages", b"wiki", b"", b"ID")

    with pytest.raises(BadPageToken):
        LISTING.after(other.token("a"))


def test_parameters_do_not_run_into_each_other() -> None:
    assert Listing.of(b"ab", b"c") != Listing.of(b"a", b"bc")
