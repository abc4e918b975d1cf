"""Make page tokens and read them again: where the next page starts, for one listing only.

A token is a digest of the listing's parameters and the last key of the page before. It holds
nothing that its holder has not seen, so it needs no secret; a changed one is refused or starts
elsewhere in the same listing.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass

from finesieve_server.errors import BadPageToken

_DIGEST_BYTES = 12


@dataclass(frozen=True, slots=True)
class Listing:
    """What is listed: everything but the page's size and place."""

    digest: bytes

    @classmethod
    def of(cls, *parameters: bytes) -> "Listing":
        digest = hashlib.sha256()
        for parameter in parameters:
            digest.update(len(parameter).to_bytes(8, "big") + parameter)
        return cls(digest.digest()[:_DIGEST_BYTES])

    def token(self, last_key: str) -> str:
        return base64.urlsafe_b64encode(self.digest + last_key.encode()).decode().rstrip("=")

    def after(self, token: str) -> str:
        """Return the key that the page starts after, "" for the first. Raises BadPageToken."""
        if not token:
            return ""
        try:
            padded = token + "=" * (-len(token) % 4)
            content = base64.b64decode(padded, altchars=b"-_", validate=True)
            key = content[_DIGEST_BYTES:].decode()
        except (binascii.Error, ValueError) as error:
            raise BadPageToken from error
        if not key or content[:_DIGEST_BYTES] != self.digest:
            raise BadPageToken
        return key
