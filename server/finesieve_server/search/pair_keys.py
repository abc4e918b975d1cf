"""Name pairs, so that one that has been scored, or is being scored, is known again."""

import hashlib
import secrets
from collections.abc import Sequence

from finesieve_server.runtime.encoder import CrossEncoder
from finesieve_server.runtime.tokenizer import Framed


class PairKeys:
    """Makes keys that hold all a logit depends on, and the tenant: none learns from another's."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)  # so that nobody can make two pairs of one key

    def keys(self, model: CrossEncoder, tenant: str, pairs: Sequence[Framed]) -> list[bytes]:
        """Return one key a pair."""
        whose = hashlib.blake2b(
            repr((tenant, model.name, model.sha256)).encode(), digest_size=16, key=self._secret
        )
        return [_key(whose.copy(), pair) for pair in pairs]


def _key(digest: "hashlib.blake2b", pair: Framed) -> bytes:
    digest.update(pair.second_start.to_bytes(4, "little"))
    digest.update(pair.ids.tobytes())
    return digest.digest()
