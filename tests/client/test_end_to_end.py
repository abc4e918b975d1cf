"""The clients and the command against the real server with its bundled models."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from demo.server_process import ServerProcess
from finesieve.v1.passages_pb2 import Passage
from finesieve.v1.results_pb2 import SCORE_STATUS_SCORED, SCORE_STATUS_TRUNCATED
from finesieve_client import (
    AlreadyExists,
    AsyncClient,
    AsyncTwoStage,
    Client,
    InvalidArgument,
    NotFound,
    TwoStage,
    compare,
    document,
    field,
    metadata_of,
    passage,
    rerank_request,
)
from finesieve_client.cli import app

ANIMALS = {
    "cat": "The cat is a small carnivore that people keep as a pet and that hunts mice.",
    "dog": "Dogs were the first animals to live with people; they herd, guard and hunt.",
    "whale": "Whales are mammals that live in the sea and breathe air through a blowhole.",
    "eagle": "Eagles are large birds of prey with strong beaks that nest on high cliffs.",
    "bee": "Honey bees live in colonies, dance to show where flowers are, and make honey.",
    "salmon": "Salmon hatch in rivers, grow in the ocean and return upstream to spawn.",
    "bat": "Bats are the only mammals that fly; they find insects at night by echo.",
    "snake": "Snakes have no legs, smell with their tongue and swallow their prey whole.",
    "penguin": "Penguins are birds that cannot fly but swim, mostly in the cold south.",
    "camel": "Camels store fat in their humps and go for days in the desert without water.",
}
QUESTION = "Which animal finds its way in the dark by sound?"


def passages() -> list[Passage]:
    return [
        passage(
            name,
            text,
            title=name.title(),
            metadata={"letters": len(name), "tags": [name[0], "animal"]},
            document_id="early" if name < "d" else "late",
        )
        for name, text in ANIMALS.items()
    ]


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.address) as client:
        client.wait_ready(60)
        yield client


@pytest.fixture(scope="module")
def animals(client: Client) -> str:
    """Return a collection of ANIMALS."""
    client.create_collection("client-animals")
    client.upsert_passages("client-animals", passages())
    return "client-animals"


def run(server: ServerProcess, *arguments: str) -> Result:
    environment = {"FINESIEVE_SERVER": server.address, "COLUMNS": "120"}
    return CliRunner().invoke(app, list(arguments), env=environment)


def values(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_both_stages_put_the_answer_first(client: Client, animals: str) -> None:
    answer = client.search(animals, QUESTION, top_n=3)

    best = answer.hits[0].hit
    assert best.passage.id == "bat"
    assert best.status == SCORE_STATUS_SCORED
    assert 0 < best.score.probability <= 1
    assert len(answer.hits) == 3
    assert answer.usage.pairs == len(ANIMALS)


def test_a_filter_built_from_expressions_chooses_among_the_passages(
    client: Client, animals: str
) -> None:
    condition = (field("letters") <= 3) & (field("tags") == "animal") & ~document("early")

    found = client.retrieve(animals, QUESTION, filter=condition).hits
    listed = client.all_passages(animals, filter=condition, view="id")

    expected = {name for name in ANIMALS if len(name) <= 3 and name >= "d"}
    assert {hit.passage.id for hit in found} == {each.id for each in listed} == expected


def test_a_passage_comes_back_as_it_was_stored(client: Client, animals: str) -> None:
    answer = client.get_passages(animals, ["whale", "unicorn"])

    (whale,) = answer.passages
    assert list(answer.missing_ids) == ["unicorn"]
    assert whale == next(each for each in passages() if each.id == "whale")
    assert metadata_of(whale) == {"letters": 5, "tags": ["w", "animal"]}


def test_the_chain_over_two_clients_ranks_as_the_servers_own_search(
    server: ServerProcess, client: Client, animals: str
) -> None:
    own = client.search(animals, QUESTION, top_n=10)
    with Client(server.address) as other:
        chained = TwoStage(client, other).search(animals, QUESTION, top_n=10)

    assert [found.hit.passage.id for found in chained.hits] == [
        found.hit.passage.id for found in own.hits
    ]
    for mine, theirs in zip(chained.hits, own.hits, strict=True):
        assert mine.hit.score.logit == pytest.approx(theirs.hit.score.logit, abs=1e-4)
        assert mine.hit.score.ordering == pytest.approx(theirs.hit.score.ordering, abs=1e-4)
        assert mine.hit.retrieval_rank == theirs.hit.retrieval_rank


async def test_the_asynchronous_client_gets_the_same_answers(
    server: ServerProcess, client: Client, animals: str
) -> None:
    async with AsyncClient(server.address) as async_client:
        await async_client.wait_ready(60)
        searched = await async_client.search(animals, QUESTION)
        chained = await AsyncTwoStage(async_client).search(animals, QUESTION)
        models = await async_client.list_models()
        embedded = await async_client.embed(["a bat"], role="query")

    assert [each.hit.passage.id for each in searched.hits] == [
        each.hit.passage.id for each in chained.hits
    ]
    assert models == client.list_models()
    assert embedded.embeddings == client.embed(["a bat"], role="query").embeddings


def test_a_query_by_its_embedding_finds_what_its_text_finds(client: Client, animals: str) -> None:
    (embedding,) = client.embed([QUESTION], role="query").embeddings

    by_text, by_embedding = client.batch_retrieve(
        animals, [QUESTION, embedding.values], top_k=4, exact=True
    ).results

    assert [hit.passage.id for hit in by_text.hits] == [hit.passage.id for hit in by_embedding.hits]


def test_long_passages_are_read_as_asked(client: Client) -> None:
    question = "Which animals make honey?"
    long_text = " ".join(
        [*(text for name, text in ANIMALS.items() if name != "bee"), ANIMALS["bee"]]
    )

    (cut,) = client.rerank(question, [long_text], max_passage_tokens=50).results
    (chunked,) = client.rerank(
        question, [long_text], max_passage_tokens=50, long_passage="chunk"
    ).results

    assert cut.status == SCORE_STATUS_TRUNCATED
    assert chunked.status == SCORE_STATUS_SCORED
    assert chunked.score.logit > cut.score.logit
    assert "make honey" in long_text[chunked.best_span.start : chunked.best_span.end]


def test_a_stream_of_batches_answers_each_and_goes_on_after_a_bad_one(client: Client) -> None:
    client.create_collection("client-stream")
    good, bad, last = passages()[:4], [passage("", "no id")], passages()[4:]

    answers = list(client.stream_upsert_passages("client-stream", [good, bad, last]))

    assert [answer.inserted for answer in answers] == [4, 0, 6]
    assert answers[1].failure.field == "passages[0].id"
    stored = client.get_collection("client-stream").collection
    assert stored.passage_count == len(ANIMALS)


def test_a_stream_of_reranks_answers_each_by_its_id(client: Client) -> None:
    requests = [
        ("sound", rerank_request(QUESTION, list(ANIMALS.values()), top_n=1)),
        ("empty", rerank_request("", ["text"])),
    ]

    answers = {answer.request_id: answer for answer in client.stream_rerank(requests)}

    assert answers["sound"].response.results[0].index == list(ANIMALS).index("bat")
    assert answers["empty"].failure.reason == "EMPTY_FIELD"


def test_the_servers_errors_name_the_field_the_reason_and_the_request(
    client: Client, animals: str
) -> None:
    with pytest.raises(InvalidArgument) as too_many:
        client.retrieve(animals, QUESTION, top_k=100_000)
    with pytest.raises(NotFound) as missing:
        client.get_collection("client-nowhere")
    with pytest.raises(AlreadyExists):
        client.create_collection(animals)

    assert too_many.value.violations[0].field == "top_k"
    assert missing.value.reason == "COLLECTION_NOT_FOUND"
    assert missing.value.request_id


def test_passages_are_deleted_by_filter(client: Client) -> None:
    client.create_collection("client-delete")
    client.upsert_passages("client-delete", passages())

    deleted = client.delete_passages("client-delete", filter=document("early")).deleted

    left = {each.id for each in client.all_passages("client-delete", view="id")}
    assert deleted == len(ANIMALS) - len(left)
    assert left == {name for name in ANIMALS if name >= "d"}


def test_a_comparison_moves_the_hits_of_one_search(client: Client, animals: str) -> None:
    comparison = compare(client, animals, QUESTION, top_n=3)

    assert len(comparison.hits) == len(ANIMALS)
    assert sorted(hit.retrieval_rank for hit in comparison.hits) == list(range(1, 11))
    assert comparison.second_stage[0].passage.id == "bat"
    assert comparison.timings.rerank_us > 0


def test_a_file_is_ingested_once_and_its_bad_rows_are_named(
    server: ServerProcess, client: Client, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus.jsonl"
    rows = [{"_id": name, "text": text} for name, text in ANIMALS.items()]
    rows[3] = {"_id": "eagle", "text": "x" * 100_000}
    rows[5] = {"_id": "sal\x07mon", "text": "control"}
    corpus.write_text("\n".join(map(json.dumps, rows)) + "\nno JSON\n")
    ingest = ("ingest", str(corpus), "-c", "client-ingest", "--json")

    first = run(server, *ingest)
    second = run(server, *ingest)

    assert (first.exit_code, second.exit_code) == (1, 1)
    outcome = json.loads(first.stdout)
    assert (outcome["inserted"], outcome["unchanged"]) == (8, 0)
    assert [row["line"] for row in outcome["bad"]] == [4, 6, 11]
    assert "line 4: text has 100000 characters" in first.stderr
    assert json.loads(second.stdout)["unchanged"] == 8
    assert client.get_collection("client-ingest").collection.passage_count == 8


def test_an_ingest_goes_on_where_an_earlier_one_ended(
    server: ServerProcess, client: Client, tmp_path: Path
) -> None:
    rows = [f'{{"id": "p{number}", "text": "passage number {number}"}}' for number in range(150)]
    part, whole = tmp_path / "part.jsonl", tmp_path / "whole.jsonl"
    part.write_text("\n".join(rows[:100]))
    whole.write_text("\n".join(rows))

    run(server, "ingest", str(part), "-c", "client-resume")
    rest = values(run(server, "ingest", str(whole), "-c", "client-resume", "--json"))

    assert (rest["inserted"], rest["unchanged"]) == (50, 100)
    assert client.get_collection("client-resume").collection.passage_count == 150


def test_rows_with_their_own_embeddings_are_ingested_once(
    server: ServerProcess, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus.jsonl"
    rows = [{"id": f"p{n}", "text": "text", "embedding": [0.1 * n, 2, 3]} for n in range(10)]
    corpus.write_text("\n".join(map(json.dumps, rows)))
    options = "--caller-embeds --dimension 3 --distance cosine"

    run(server, "collections", "create", "client-embedded", *options.split())
    first = values(run(server, "ingest", str(corpus), "-c", "client-embedded", "--json"))
    second = values(run(server, "ingest", str(corpus), "-c", "client-embedded", "--json"))

    assert (first["inserted"], first["unchanged"]) == (10, 0)
    assert (second["inserted"], second["unchanged"]) == (0, 10)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Return a BEIR folder of ANIMALS with two queries and one bad row."""
    folder = tmp_path / "Animals"
    folder.mkdir()
    corpus = [{"_id": name, "text": text} for name, text in ANIMALS.items()]
    queries = [{"_id": "q1", "text": QUESTION}, {"_id": "q2", "text": "Who makes honey?"}]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)) + "\nno JSON")
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tbat\t1\nq2\tbee\t1\n")
    return folder


def test_a_labelled_folder_is_evaluated_and_stored_only_once(
    server: ServerProcess, labelled: Path
) -> None:
    evaluation = values(run(server, "evaluate", str(labelled), "--json"))
    again = run(server, "evaluate", str(labelled), "--retrieve-k", "5")

    assert evaluation["num_queries"] == 2
    assert evaluation["quality"]["both"] == {"nDCG@10": 1.0, "recall@100": 1.0, "MRR@10": 1.0}
    assert set(evaluation["quality"]) == {"first stage", "cross-encoder", "both"}
    assert evaluation["latency"]["rerank"]["p95_ms"] > 0
    assert (evaluation["passages"], evaluation["bad_rows"]) == (10, 1)
    assert "10 were there already" in again.stderr
    assert "10 passages without 1 bad rows" in again.stderr
    assert "recall@5" in again.stdout
    assert "recall@100" not in again.stdout


def test_every_way_of_finding_candidates_is_evaluated_on_the_same_queries(
    server: ServerProcess, labelled: Path
) -> None:
    measured = values(run(server, "evaluate", str(labelled), "--mode", "all", "--json"))
    shown = run(server, "evaluate", str(labelled), "--mode", "hybrid,lexical")
    refused = run(server, "evaluate", str(labelled), "--mode", "dense,words")

    assert [each["mode"] for each in measured["modes"]] == ["dense", "lexical", "hybrid"]
    assert [each["num_queries"] for each in measured["modes"]] == [2, 2, 2]
    assert shown.stdout.count("cross-encoder") == 2
    assert refused.exit_code == 2
    assert "--mode is 'words'; allowed: dense, lexical, hybrid, all" in refused.stderr


def test_an_evaluation_completes_its_collection_and_leaves_a_strangers_alone(
    server: ServerProcess, client: Client, animals: str, labelled: Path
) -> None:
    client.create_collection("client-part")
    client.upsert_passages("client-part", [passage("cat", "An outdated text.")])

    completed = values(run(server, "evaluate", str(labelled), "-c", "client-part", "--json"))
    client.upsert_passages(animals, [passage("unicorn", "Not in the corpus.")])
    refused = run(server, "evaluate", str(labelled), "-c", animals)
    client.delete_passages(animals, ids=["unicorn"])

    assert completed["passages"] == 10
    assert client.get_passages("client-part", ["cat"]).passages[0].text == ANIMALS["cat"]
    assert refused.exit_code == 2
    assert "holds 'unicorn', which is not in" in refused.stderr
