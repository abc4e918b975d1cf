from benchmarks.workload import Workload


def test_every_call_of_the_demo_corpus_asks_something() -> None:
    calls = Workload(None).calls(20_000, 1)

    assert all(call.query.strip() for call in calls)
