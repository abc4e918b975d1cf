"""`finesieve collections`: what the server stores."""

from typing import Annotated, Any

import typer
from rich.text import Text

from finesieve_client.cli.session import Session, with_session
from finesieve_client.cli.terminal import one_line, out, plain, plain_table, say, write_json
from finesieve_client.options import DistanceName

app = typer.Typer(help="List, create, show and delete collections.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The collection's name.")]


@app.command(name="list")
@with_session
def list_collections(session: Session) -> None:
    """List the collections, by name."""
    with session.client() as client:
        collections = [plain(collection) for collection in client.all_collections()]
    if session.as_json:
        write_json(collections)
        return
    if not collections:
        say("no collections yet; `finesieve ingest FILE --collection NAME` makes one")
        return
    table = plain_table("collection", ">passages", "embedded by", ">dimension", "distance", "state")
    for each in collections:
        table.add_row(
            each["name"],
            f"{each['passage_count']:,}",
            Text(embedder(each)),
            f"{each['dimension']}",
            each["distance"],
            each["state"],
        )
    out().print(table)


@app.command()
@with_session
def create(
    session: Session,
    name: Name,
    embedding_model: Annotated[
        str, typer.Option(metavar="MODEL", help="Bi-encoder; by default the server's first.")
    ] = "",
    caller_embeds: Annotated[
        bool, typer.Option("--caller-embeds", help="Every passage brings its embedding.")
    ] = False,
    dimension: Annotated[
        int, typer.Option(min=0, help="Of the embeddings; needed with --caller-embeds.")
    ] = 0,
    distance: Annotated[
        DistanceName | None, typer.Option(help="By default what the model was trained for.")
    ] = None,
    m: Annotated[int, typer.Option("--m", min=0, help="HNSW links per node; 0: 16.")] = 0,
    ef_construction: Annotated[
        int, typer.Option(min=0, help="HNSW candidates while building; 0: 200.")
    ] = 0,
    ef_search: Annotated[
        int, typer.Option(min=0, help="HNSW candidates while searching; 0: 64.")
    ] = 0,
) -> None:
    """Make an empty collection."""
    with session.client() as client:
        answer = client.create_collection(
            name,
            embedding_model=embedding_model,
            dimension=dimension,
            distance=distance,
            m=m,
            ef_construction=ef_construction,
            ef_search=ef_search,
            caller_embeds=caller_embeds,
        )
    show_one(session, plain(answer.collection))


@app.command()
@with_session
def show(session: Session, name: Name) -> None:
    """Describe one collection."""
    with session.client() as client:
        answer = client.get_collection(name)
    show_one(session, plain(answer.collection))


@app.command()
@with_session
def delete(
    session: Session,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a collection with all its passages."""
    with session.client() as client:
        count = client.get_collection(name).collection.passage_count
        if not yes:
            typer.confirm(f"Delete {name} with its {count:,} passages?", abort=True, err=True)
        client.delete_collection(name)
    if session.as_json:
        write_json({"deleted": name, "passage_count": count})
    else:
        say(f"deleted {name} with its {count:,} passages")


def show_one(session: Session, collection: dict[str, Any]) -> None:
    """Write all that is known of one collection."""
    if session.as_json:
        write_json(collection)
        return
    hnsw = collection.get("hnsw", {})
    table = plain_table("", "")
    table.show_header = False
    for label, value in (
        ("collection", collection["name"]),
        ("passages", f"{collection['passage_count']:,}"),
        ("embedded by", embedder(collection)),
        ("dimension", str(collection["dimension"])),
        ("distance", collection["distance"]),
        ("hnsw", ", ".join(f"{option} {count}" for option, count in hnsw.items())),
        ("state", collection["state"]),
        ("created", collection.get("create_time", "")),
        ("updated", collection.get("update_time", "")),
    ):
        table.add_row(Text(label, "dim"), Text(value))
    out().print(table)


def embedder(collection: dict[str, Any]) -> str:
    """Return who embeds a collection's passages."""
    return "the caller" if collection["caller_embeds"] else one_line(collection["embedding_model"])
