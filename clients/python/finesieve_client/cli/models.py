"""`finesieve models`: the models that the server holds."""

from rich.text import Text

from finesieve_client.cli.session import Session, with_session
from finesieve_client.cli.terminal import one_line, out, plain, plain_table, write_json


@with_session
def models(session: Session) -> None:
    """List the models that the server holds."""
    with session.client() as client:
        answer = plain(client.list_models())["models"]
    if session.as_json:
        write_json(answer)
        return
    table = plain_table("model", "kind", "precision", ">window", ">dimension")
    for column in table.columns[:2]:
        column.no_wrap = True  # a name is there to be typed
    for model in answer:
        default = " (default)" if model["is_default"] else ""
        table.add_row(
            Text.assemble(one_line(model["name"]), (default, "dim")),
            model["kind"].replace("_", "-"),
            one_line(model["precision"]),
            f"{model['max_tokens']}",
            f"{model['dimension'] or ''}",
        )
    out().print(table)
