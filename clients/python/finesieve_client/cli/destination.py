"""Where an ingest goes: a collection, made where it is missing, of a server that may be busy."""

from finesieve.v1.passages_pb2 import Collection
from finesieve_client.async_client import AsyncClient
from finesieve_client.cli.terminal import say
from finesieve_client.errors import AlreadyExists, FinesieveError, NotFound
from finesieve_client.patience import PATIENCE_S


def say_what_is_waited_for(error: FinesieveError) -> None:
    """Say why nothing moves."""
    say(f"the server takes no rows, waiting up to {PATIENCE_S:.0f} s for it: {error.message}")


async def make_where_missing(
    client: AsyncClient, collection: str, embedding_model: str
) -> Collection:
    """Make the collection unless it exists; return it."""
    try:
        return (await client.get_collection(collection)).collection
    except NotFound:
        pass
    try:
        made = await client.create_collection(collection, embedding_model=embedding_model)
    except AlreadyExists:  # by somebody else, just now
        return (await client.get_collection(collection)).collection
    say(f"made the collection {collection}, embedded by {made.collection.embedding_model}")
    return made.collection
