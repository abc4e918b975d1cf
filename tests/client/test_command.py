import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from typer.testing import CliRunner, Result

from finesieve.v1.models_pb2 import MODEL_KIND_BI_ENCODER, ListModelsResponse, Model
from finesieve.v1.passages_pb2 import Collection, Filter
from finesieve.v1.rerank_pb2 import RerankRequest, RerankResponse, RerankResult
from finesieve.v1.results_pb2 import SCORE_STATUS_SCORED, Failure, Hit, Score, StageTimings
from finesieve.v1.retrieval_pb2 import (
    CreateCollectionRequest,
    CreateCollectionResponse,
    DeleteCollectionResponse,
    GetCollectionResponse,
    GetPassagesResponse,
    ListCollectionsResponse,
    UpsertPassagesRequest,
    UpsertPassagesResponse,
)
from finesieve.v1.search_pb2 import Context, SearchHit, SearchRequest, SearchResponse
from finesieve_client import field, passage
from finesieve_client.cli import app
from tests.client.scripted_server import Answer, ScriptedServer, refuse
from tests.client.test_readiness import Loading

CERTIFICATES = Path(__file__).parent / "certificates"
DOCS = Collection(
    name="docs",
    embedding_model="minilm",
    dimension=384,
    passage_count=2**40,
    distance="DISTANCE_DOT",
)


class Server:
    """Answers a search over "docs" with two hits whose texts would like to command a terminal."""

    def __init__(self) -> None:
        self.searches: list[SearchRequest] = []
        self.created: list[CreateCollectionRequest] = []
        self.reranks: list[RerankRequest] = []
        self.collections = [DOCS]
        self.stored: list[str] = []
        self.storing = threading.Event()

    def answers(self) -> Mapping[str, Answer]:
        return {
            "ListCollections": lambda _, __: ListCollectionsResponse(collections=self.collections),
            "GetCollection": lambda _, __: GetCollectionResponse(collection=DOCS),
            "CreateCollection": self.create,
            "GetPassages": lambda _, __: GetPassagesResponse(),
            "UpsertPassages": self.upsert,
            "DeleteCollection": lambda _, __: DeleteCollectionResponse(),
            "ListModels": lambda _, __: ListModelsResponse(
                models=[Model(name="minilm", kind=MODEL_KIND_BI_ENCODER, is_default=True)]
            ),
            "Search": self.search,
            "Rerank": self.rerank,
        }

    def create(
        self, request: CreateCollectionRequest, _: grpc.ServicerContext
    ) -> CreateCollectionResponse:
        self.created.append(request)
        return CreateCollectionResponse(collection=DOCS)

    def upsert(
        self, request: UpsertPassagesRequest, _: grpc.ServicerContext
    ) -> UpsertPassagesResponse:
        self.stored += [each.id for each in request.passages]
        self.storing.set()
        return UpsertPassagesResponse(inserted=len(request.passages))

    def search(self, request: SearchRequest, context: grpc.ServicerContext) -> SearchResponse:
        self.searches.append(request)
        if request.collection != "docs":
            info = error_details_pb2.ErrorInfo(reason="COLLECTION_NOT_FOUND")
            refuse(context, grpc.StatusCode.NOT_FOUND, "no collection 'other'", info)
        hits = [
            Hit(
                passage=passage("p2", "evil \x1b[31m text\r\n[bold]", title="Second\x07"),
                rank=1,
                retrieval_rank=2,
                retrieval_score=0.25,
                score=Score(logit=1, probability=0.75, ordering=1),
                status=SCORE_STATUS_SCORED,
            ),
            Hit(passage=passage("p1", "text"), rank=2, retrieval_rank=1, retrieval_score=0.5),
        ]
        return SearchResponse(
            hits=[SearchHit(hit=hit) for hit in hits], timings=StageTimings(total_us=1_234_567)
        )

    def rerank(self, request: RerankRequest, _: grpc.ServicerContext) -> RerankResponse:
        self.reranks.append(request)
        results = [
            RerankResult(index=1, score=Score(logit=2, probability=0.9)),
            RerankResult(index=0, failure=Failure(message="is empty")),
        ]
        for result in results:
            result.document.CopyFrom(request.documents[result.index])
        return RerankResponse(results=results, model="cross")


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def target(server: Server) -> Iterator[str]:
    with ScriptedServer(server.answers()) as running:
        yield running.target


def run(target: str, *arguments: str, stdin: str | None = None) -> Result:
    environment = {"FINESIEVE_SERVER": target, "COLUMNS": "120"}
    return CliRunner().invoke(app, list(arguments), input=stdin, env=environment)


def values(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        ("models",),
        ("collections", "list"),
        ("collections", "show", "docs"),
        ("collections", "create", "docs"),
        ("collections", "delete", "docs", "--yes"),
        ("search", "what?"),
        ("compare", "what?"),
        ("rerank", "what?", "one", "two"),
    ],
    ids=" ".join,
)
def test_standard_output_is_json_alone_where_that_is_asked(
    target: str, arguments: tuple[str, ...]
) -> None:
    assert values(run(target, *arguments, "--json"))


def test_json_has_numbers_for_counts_and_words_for_enums(target: str) -> None:
    (collection,) = values(run(target, "collections", "list", "--json"))

    assert collection["passage_count"] == 2**40
    assert collection["distance"] == "dot"
    assert collection["caller_embeds"] is False


def test_a_search_asks_for_what_its_options_say(server: Server, target: str) -> None:
    arguments = "search what? -c docs -n 3 --retrieve-k 40 --exact --model m"

    result = run(target, *arguments.split(), "--first-stage-weight", "0.25", "-w", "year>=2020")

    assert result.exit_code == 0
    (request,) = server.searches
    assert (request.collection, request.query, request.top_n) == ("docs", "what?", 3)
    assert (request.retrieve_k, request.retrieval.exact) == (40, True)
    assert (request.rerank.model, request.rerank.first_stage_weight) == ("m", 0.25)
    assert request.filter == (field("year") >= 2020).message


def test_a_search_asks_for_context_and_diversity(server: Server, target: str) -> None:
    widened = "search what? --window 2 --merge-share 0.5 --diversity 0.25"

    run(target, *widened.split())
    run(target, "search", "what?")

    asked, plain = server.searches
    assert (asked.context.window, asked.context.merge_share) == (2, 0.5)
    assert asked.diversity.relevance_weight == 0.75
    assert plain.context == Context()
    assert not plain.HasField("diversity")


def test_without_a_weight_the_models_own_counts(server: Server, target: str) -> None:
    run(target, "search", "what?")

    assert not server.searches[0].rerank.HasField("first_stage_weight")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["lang=en"], (field("lang") == "en").message),
        (["year < 2020"], (field("year") < 2020).message),
        (['year="2020"'], (field("year") == "2020").message),
        (["author.name != Ann Lee"], (field("author.name") != "Ann Lee").message),
        (["open=true"], (field("open") == True).message),  # noqa: E712
        (["a>1", "a<=5"], ((field("a") > 1) & (field("a") <= 5)).message),
        (["module==shutil"], (field("module") == "shutil").message),
        (["year == 2020"], (field("year") == 2020).message),
        (['name="[x]"'], (field("name") == "[x]").message),
        (["url=a=b"], (field("url") == "a=b").message),
    ],
)
def test_a_condition_is_read_as_it_looks(
    server: Server, target: str, texts: list[str], expected: Filter
) -> None:
    run(target, "search", "what?", *(part for text in texts for part in ("--where", text)))

    assert server.searches[0].filter == expected


def test_texts_from_the_server_do_not_command_the_terminal(target: str) -> None:
    for command in ("search", "compare"):
        result = run(target, command, "what?")

        assert result.exit_code == 0
        assert "\x1b[31m" not in result.stdout
        assert "\x07" not in result.stdout
        assert "[31m text [bold]" in result.stdout


def test_a_comparison_says_how_far_each_hit_moved(target: str) -> None:
    result = run(target, "compare", "what?", "-n", "1")

    assert "new ▲1" in result.stdout
    assert "the best hit was at 2" in result.stdout
    assert "1 new among the best 1" in result.stdout


def test_a_comparison_as_json_has_moves_and_both_ranks(target: str) -> None:
    comparison = values(run(target, "compare", "what?", "-n", "1", "--json"))

    moves = [(hit["passage"]["id"], hit["moved"], hit["new"]) for hit in comparison["hits"]]
    assert moves == [("p2", 1, True), ("p1", -1, False)]
    assert comparison["timings"]["total_us"] == 1_234_567


def test_the_only_collection_need_not_be_named(server: Server, target: str) -> None:
    assert run(target, "search", "what?").exit_code == 0

    server.collections = [DOCS, Collection(name="news")]
    result = run(target, "search", "what?")

    assert result.exit_code == 2
    assert "--collection NAME is needed; there are: docs, news" in result.stderr


def test_without_any_collection_the_next_step_is_named(server: Server, target: str) -> None:
    server.collections = []

    result = run(target, "search", "what?")

    assert result.exit_code == 2
    assert "finesieve ingest FILE --collection NAME" in result.stderr


def test_a_collection_that_is_not_there_is_one_line_with_the_next_step(target: str) -> None:
    result = run(target, "search", "what?", "-c", "other")

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "finesieve: no collection 'other'; `finesieve collections list` shows what there is\n"
    )


def test_a_server_that_is_not_there_is_one_line_with_the_next_step() -> None:
    result = run("127.0.0.1:1", "models")

    assert result.exit_code == 1
    assert result.stderr == (
        "finesieve: no server answers at 127.0.0.1:1; start one with `finesieve-server`, "
        "name another with --server HOST:PORT, or wait for it with --wait 60 "
        "(Failed to connect to remote host: Connection refused)\n"
    )


def test_a_server_that_is_starting_is_waited_for() -> None:
    starting = Loading()
    loading = threading.Thread(target=starting.load_once_watched)
    answer = ListModelsResponse(models=[Model(name="tiny")])

    with ScriptedServer({"ListModels": lambda _, __: answer}) as server:
        server.add(lambda real: add_HealthServicer_to_server(starting, real))
        loading.start()
        result = run(server.target, "models", "--wait", "20")
        loading.join()

    assert result.exit_code == 0, result.stderr
    assert "tiny" in result.stdout


def test_a_server_that_does_not_come_up_is_waited_for_no_longer_than_asked() -> None:
    result = run("127.0.0.1:1", "models", "--wait", "0.3")

    assert result.exit_code == 1
    assert result.stderr == (
        "finesieve: the server at 127.0.0.1:1 was not ready within 0.3 s; "
        "--wait SECONDS waits longer\n"
    )


def test_a_server_that_speaks_otherwise_is_told_from_one_that_is_not_there(target: str) -> None:
    result = run(target, "models", "--tls")

    assert result.exit_code == 1
    assert "WRONG_VERSION_NUMBER" in result.stderr


def test_a_server_whose_certificate_nobody_trusts_is_told_from_one_that_is_not_there() -> None:
    pair = ((CERTIFICATES / "server.key").read_bytes(), (CERTIFICATES / "server.pem").read_bytes())

    with ScriptedServer({}, grpc.ssl_server_credentials([pair])) as running:
        result = run(running.target, "models", "--tls")

    assert result.exit_code == 1
    assert "CERTIFICATE_VERIFY_FAILED" in result.stderr


@pytest.mark.parametrize("message", ["internal error", "internal error (request r1)"])
def test_an_internal_error_names_its_request_once(message: str) -> None:
    def fail(_: object, context: grpc.ServicerContext) -> ListModelsResponse:
        refuse(
            context,
            grpc.StatusCode.INTERNAL,
            message,
            error_details_pb2.RequestInfo(request_id="r1"),
        )

    with ScriptedServer({"ListModels": fail}) as running:
        result = run(running.target, "models")

    assert result.stderr == "finesieve: internal error (request r1)\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("search", "what?", "--where", "year"), "write one such as 'year>=2020'"),
        (("search", "what?", "--where", 'tags=["a"]'), "is a list or an object"),
        (("search", "what?", "--where", "author={x"), "is a list or an object"),
        (("search", "what?", "--cert", "client.pem"), "belong together"),
        (("rerank", "what?"), "there is nothing to order"),
        (("search",), "Missing argument"),
        (("search", "what?", "--top-n", "0"), "Invalid value for '--top-n'"),
        (("search", "what?", "--window", "-1"), "Invalid value for '--window'"),
        (("search", "what?", "--merge-share", "2"), "Invalid value for '--merge-share'"),
        (("search", "what?", "--diversity", "-0.1"), "Invalid value for '--diversity'"),
        (("collections", "create", "docs", "--distance", "far"), "'far' is not one of"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_wrong_use_ends_with_two(target: str, arguments: tuple[str, ...], problem: str) -> None:
    result = run(target, *arguments)

    assert result.exit_code == 2
    assert problem in result.stderr
    assert result.stdout == ""


def test_the_command_speaks_tls_and_brings_its_token(server: Server, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    pair = ((CERTIFICATES / "server.key").read_bytes(), (CERTIFICATES / "server.pem").read_bytes())
    credentials = grpc.ssl_server_credentials([pair])

    with ScriptedServer(server.answers(), credentials) as running:
        authority = str(CERTIFICATES / "ca.pem")
        result = run(running.target, "models", "--ca", authority, "--token-file", str(token))

    assert result.exit_code == 0, result.stderr
    assert running.metadata[0]["authorization"] == "Bearer secret"


def test_a_token_is_not_sent_in_the_clear(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret")

    result = run("search.example:50051", "models", "--token-file", str(token))

    assert result.exit_code == 2
    assert "in the clear; speak TLS" in result.stderr


def test_a_file_that_is_not_there_is_one_line(target: str) -> None:
    result = run(target, "ingest", "nowhere.jsonl", "-c", "docs")

    assert result.exit_code == 1
    assert result.stderr == "finesieve: nowhere.jsonl: No such file or directory\n"


def test_a_collection_is_deleted_only_after_a_yes(target: str) -> None:
    no = run(target, "collections", "delete", "docs", stdin="n\n")
    yes = run(target, "collections", "delete", "docs", stdin="y\n")

    assert (no.exit_code, yes.exit_code) == (1, 0)
    assert "Delete docs with its 1,099,511,627,776 passages?" in no.stderr
    assert "deleted docs" in yes.stderr


def test_a_collection_is_made_as_its_options_say(server: Server, target: str) -> None:
    options = "--caller-embeds --dimension 3 --distance l2 --m 8 --ef-construction 9 --ef-search 10"

    assert run(target, "collections", "create", "docs", *options.split()).exit_code == 0

    (request,) = server.created
    assert request.caller_embeds
    assert (request.dimension, request.distance) == (3, 3)
    assert (request.hnsw.m, request.hnsw.ef_construction, request.hnsw.ef_search) == (8, 9, 10)


def test_texts_to_order_come_from_arguments_and_a_file(
    server: Server, target: str, tmp_path: Path
) -> None:
    file = tmp_path / "texts"
    file.write_text('plain text\n\n{"id": "x", "title": "T", "text": "from JSON"}\n')

    run(target, "rerank", "what?", "from the arguments", "-f", str(file))

    (request,) = server.reranks
    texts = [document.text for document in request.documents]
    assert texts == ["from the arguments", "plain text", "from JSON"]
    assert (request.documents[2].id, request.documents[2].title) == ("x", "T")


def test_texts_to_order_come_from_standard_input(server: Server, target: str) -> None:
    command = [sys.executable, "-m", "finesieve_client", "rerank", "what?", "-f", "-"]

    subprocess.run([*command, "--server", target], input=b"one\ntwo\n", check=True)

    assert [document.text for document in server.reranks[0].documents] == ["one", "two"]


def test_a_text_that_could_not_be_scored_says_why(target: str) -> None:
    result = run(target, "rerank", "what?", "one " * 100, "two " * 100)

    assert "not scored: is empty" in result.stdout


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"text": ', "is not JSON"),
        (b'{"id": "a"}', "has no text"),
        (b'{"text": 5}', "text is a whole number; it must be a string"),
        (b'{"text": "x", "title": ["y"]}', "title is a list; it must be a string"),
        (b'{"text": "\\ud800"}', "has half a surrogate pair"),
        (b"caf\xe9", "is not UTF-8 at byte 3"),
    ],
)
def test_a_bad_line_of_texts_is_named(
    target: str, tmp_path: Path, line: bytes, problem: str
) -> None:
    file = tmp_path / "texts"
    file.write_bytes(b"fine\n" + line + b"\n")

    result = run(target, "rerank", "what?", "-f", str(file))

    assert result.exit_code == 2
    assert f"line 2 of {file}: {problem}" in result.stderr


def test_an_id_of_a_text_may_be_a_number(server: Server, target: str, tmp_path: Path) -> None:
    file = tmp_path / "texts"
    file.write_bytes(b'\xef\xbb\xbf{"_id": 5, "text": "one"}\n{"text": "two"}\n')

    run(target, "rerank", "what?", "-f", str(file))

    assert [document.id for document in server.reranks[0].documents] == ["5", ""]


def test_help_is_given_for_every_command(target: str) -> None:
    commands = "search compare ask rerank ingest evaluate tournament triad repurpose models"
    for command in commands.split():
        result = run(target, command, "--help")

        assert result.exit_code == 0
        assert "--server" in result.stdout
        assert "--json" in result.stdout


def test_the_module_is_the_command_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "finesieve_client", "--version"],
        capture_output=True,
        check=True,
        text=True,
    )

    assert done.stdout.strip()


def test_ctrl_c_ends_with_one_line_and_130(tmp_path: Path) -> None:
    asked, ended = threading.Event(), threading.Event()

    def never(_: object, context: grpc.ServicerContext) -> GetCollectionResponse:
        context.add_callback(ended.set)
        asked.set()
        ended.wait()
        return GetCollectionResponse()

    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"id": "a", "text": "one"}')
    with ScriptedServer({"GetCollection": never}) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "finesieve_client", "ingest", str(corpus), "-c", "docs"],
            stderr=subprocess.PIPE,
            env={**os.environ, "FINESIEVE_SERVER": server.target},
            text=True,
        )
        assert asked.wait(20)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)

    assert process.returncode == 130
    assert errors == "finesieve: interrupted\n"


@pytest.mark.parametrize("source", ["-", "/dev/stdin", "fifo"])
def test_rows_are_ingested_from_what_can_be_read_only_once(
    server: Server, target: str, tmp_path: Path, source: str
) -> None:
    lines = b'{"id": "a", "text": "one"}\n{"id": "b", "text": "two"}\n'
    if source == "fifo":
        source = str(tmp_path / "fifo")
        os.mkfifo(source)
        writer = threading.Thread(target=Path(source).write_bytes, args=(lines,))
        writer.start()
        lines = b""
    command = [sys.executable, "-m", "finesieve_client", "ingest", source, "-c", "docs", "--json"]

    done = subprocess.run(
        [*command, "--server", target], input=lines, stdout=subprocess.PIPE, check=True
    )

    assert json.loads(done.stdout)["inserted"] == 2
    assert server.stored == ["a", "b"]


def test_ctrl_c_ends_an_ingest_whose_producer_is_silent(server: Server, target: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "finesieve_client", "ingest", "-", "-c", "docs"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "FINESIEVE_SERVER": target},
    )
    assert process.stdin is not None
    process.stdin.write(b'{"id": "a", "text": "one"}\n')
    process.stdin.flush()
    assert server.storing.wait(20)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert process.stderr is not None
    errors = process.stderr.read().decode()
    process.stdin.close()

    assert errors.splitlines()[-1] == "finesieve: interrupted"
    assert "Fatal" not in errors


def test_only_the_first_bad_rows_are_written_out(target: str, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("oops\n" * 100)

    result = run(target, "ingest", str(corpus), "-c", "docs", "--json")

    assert result.exit_code == 1
    assert len(json.loads(result.stdout)["bad"]) == 100
    assert result.stderr.count("is not JSON") == 20
    assert "and 80 more bad rows" in result.stderr


def test_a_reader_that_has_enough_is_no_error(server: Server, target: str) -> None:
    server.collections = [Collection(name=f"c{number}") for number in range(20_000)]
    process = subprocess.Popen(
        [sys.executable, "-m", "finesieve_client", "collections", "list", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "FINESIEVE_SERVER": target},
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "[\n"
    process.stdout.close()
    assert process.stderr is not None
    errors = process.stderr.read()

    assert process.wait(20) == 1
    assert errors == ""


def test_the_command_starts_without_what_only_one_command_needs() -> None:
    program = "import sys, finesieve_client.cli; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    loaded = done.stdout.split()
    assert "finesieve_client.cli.evaluate" in loaded
    assert {"ir_measures", "numpy", "openai", "sentencex"}.isdisjoint(loaded)


def test_the_measures_are_asked_for_before_anything_is_stored(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ir_measures", None)  # as if it were not installed

    result = run(target, "evaluate", str(tmp_path))

    assert result.exit_code == 2
    assert "pip install 'finesieve[evaluate]'" in result.stderr
