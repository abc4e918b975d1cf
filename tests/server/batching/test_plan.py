"""Which waiting work forms the next batch: no model, no clock."""

from dataclasses import dataclass
from itertools import pairwise

import pytest

from finesieve_server.batching.plan import Batch, BatchLimits, Job, Priority, WaitingWork

NEVER = 1e9


@dataclass(frozen=True)
class Line:
    """A device that takes 1 s a batch and 0.1 s a token."""

    fixed_s: float = 1.0

    def row_s(self, tokens: int) -> float:
        return 0.1 * tokens

    def least_row_s(self, tokens: int) -> float:
        return self.row_s(tokens)

    def batch_s(self, rows: int, tokens: int) -> float:
        return self.fixed_s + rows * self.row_s(tokens)


def waiting(*jobs: Job, max_tokens: int = 1000, max_s: float = NEVER) -> WaitingWork:
    work = WaitingWork({"a": Line(), "b": Line()}, BatchLimits(max_tokens, max_s))
    for job in jobs:
        work.add(job, now=0.0)
    return work


def job(*lengths: int, deadline: float = NEVER, model: str = "a", **others: object) -> Job:
    return Job(model, lengths, deadline, **others)  # type: ignore[arg-type]


def lengths(batch: Batch | None) -> list[int]:
    assert batch is not None
    return sorted(item.tokens for item in batch.items)


def predicted(tokens: int, others_s: float = 0.0) -> object:
    """Seconds: each token's own, its part of what full batches cost anyway, and the margin."""
    return pytest.approx(1.25 * (tokens * (0.1 + 1.0 / 1000) + others_s))


def drained(work: WaitingWork, now: float = 0.0) -> list[Batch]:
    batches = []
    while (batch := work.take_batch(now)) is not None:
        batches.append(batch)
        now += Line().batch_s(len(batch.items), batch.longest)
    return batches


def test_nothing_waiting_is_no_batch() -> None:
    assert waiting().take_batch(0.0) is None


def test_one_long_pair_does_not_join_many_short_ones() -> None:
    work = waiting(job(*[10] * 8, 500))

    assert [lengths(batch) for batch in drained(work)] == [[500], [10] * 8]


def test_lengths_join_while_their_padding_costs_less_than_a_batch_of_their_own() -> None:
    work = waiting(job(100, 91, 90, 89))

    assert lengths(work.take_batch(0.0)) == [90, 91, 100]
    assert lengths(work.take_batch(0.0)) == [89]


def test_a_longer_neighbour_counts_the_padding_it_brings_to_everyone() -> None:
    urgent = job(50, 50, 50, deadline=20.0)
    work = waiting(urgent, job(54))

    assert lengths(work.take_batch(0.0)) == [50, 50, 50]


def test_a_batch_holds_no_more_padded_tokens_than_the_limit() -> None:
    batches = drained(waiting(job(*range(50, 60)), max_tokens=200))

    assert all(len(batch.items) * batch.longest <= 200 for batch in batches)
    assert sum(len(batch.items) for batch in batches) == 10


def test_a_batch_is_not_predicted_to_take_longer_than_the_limit() -> None:
    batches = drained(waiting(job(*[10] * 9), max_s=4.0))

    assert [len(batch.items) for batch in batches] == [3, 3, 3]


def test_an_item_larger_than_the_limit_runs_alone() -> None:
    assert [lengths(batch) for batch in drained(waiting(job(300, 300), max_tokens=200))] == [
        [300],
        [300],
    ]


def test_the_earliest_deadline_goes_first() -> None:
    work = waiting(job(100, deadline=99.0), job(50, deadline=80.0), job(200, deadline=90.0))

    assert [lengths(batch) for batch in drained(work)] == [[50], [200], [100]]


def test_callers_share_a_batch() -> None:
    work = waiting(job(50, 90), job(51, 91), job(49, 89))

    assert [lengths(batch) for batch in drained(work)] == [[89, 90, 91], [49, 50, 51]]


def test_models_do_not_share_a_batch() -> None:
    work = waiting(job(50, model="a", deadline=50.0), job(50, model="b", deadline=60.0))

    assert [(batch.model, lengths(batch)) for batch in drained(work)] == [("a", [50]), ("b", [50])]


def test_bulk_work_waits_for_interactive_work_that_is_due_a_little_later() -> None:
    bulk = job(100, deadline=50.0, priority=Priority.BULK)
    work = waiting(bulk, job(50, deadline=55.0))

    assert [lengths(batch) for batch in drained(work)] == [[50], [100]]


def test_bulk_work_has_a_share_beside_endless_interactive_work() -> None:
    bulk = job(*[100] * 50, priority=Priority.BULK)
    work = waiting(bulk, job(*[100] * 500), max_tokens=100)

    batches = [work.take_batch(float(at)) for at in range(110)]

    of_bulk = [at for at, batch in enumerate(batches) if batch and batch.items[0].job is bulk]
    assert len(of_bulk) == 10
    assert all(8 <= after - before <= 14 for before, after in pairwise(of_bulk))


def test_work_that_cannot_be_finished_in_time_is_given_up_unstarted() -> None:
    late, early = job(100, deadline=9.0), job(100, deadline=11.5)
    work = waiting(late, early)

    assert work.give_up(0.0) == [late]
    assert [item.job for batch in drained(work) for item in batch.items] == [early]


def test_a_job_is_given_up_once_the_rest_of_it_no_longer_fits() -> None:
    half_done = job(100, 100, deadline=25.0)
    work = waiting(half_done, max_tokens=100)

    assert work.give_up(0.0) == []
    work.take_batch(0.0)

    assert work.give_up(14.0) == []
    assert work.give_up(15.5) == [half_done]
    assert work.tokens == 0


def test_a_partial_job_stays_while_one_more_item_fits() -> None:
    partial = job(30, 30, 30, 30, deadline=5.0, partial=True)
    work = waiting(partial)

    assert work.give_up(0.0) == []
    assert work.give_up(2.5) == [partial]


def test_a_hurried_partial_job_is_worked_in_its_own_order() -> None:
    work = waiting(job(20, 30, 20, 90, deadline=14.0, partial=True), max_tokens=60)

    taken = [work.take_batch(now) for now in (0.0, 7.0, 10.0)]

    assert [[item.index for item in batch.items] for batch in taken if batch] == [[0, 1], [2], [3]]


def test_a_partial_job_with_time_enough_is_batched_by_length() -> None:
    work = waiting(job(20, 90, 20, 90, deadline=60.0, partial=True))

    assert [lengths(batch) for batch in drained(work)] == [[90, 90], [20, 20]]


def test_others_do_not_pull_items_of_a_hurried_partial_job_out_of_order() -> None:
    hurried = job(40, 50, deadline=20.0, partial=True)
    work = waiting(job(50, deadline=11.0), hurried)

    batches = drained(work)

    assert [item.index for each in batches for item in each.items if item.job is hurried] == [0, 1]


def test_an_item_does_not_join_a_batch_that_would_end_after_its_deadline() -> None:
    tight = job(50, deadline=10.0)
    patient = job(*[50] * 5, deadline=9.0 + 90.0)
    work = waiting(tight, patient)

    first = work.take_batch(0.0)

    assert first is not None
    assert tight in [item.job for item in first.items]
    assert Line().batch_s(len(first.items), first.longest) <= 10.0


def test_a_job_is_predicted_to_wait_for_what_is_due_before_it_and_for_the_others_shares() -> None:
    bulk = job(*[100] * 50, deadline=60.0, priority=Priority.BULK)
    urgent, patient, last = job(10, deadline=5.0), job(20, deadline=15.0), job(30)
    work = waiting(bulk, urgent, patient, last)

    assert work.finish_s(urgent, now=0.0) == predicted(10 + 1)
    assert work.finish_s(patient, now=0.0) == predicted(10 + 20 + 3)
    assert work.finish_s(bulk, now=0.0) == predicted(5060)
    assert work.work_s(now=0.0) == predicted(5060)


def test_a_small_job_does_not_queue_behind_a_large_one_with_the_same_deadline() -> None:
    large, small = job(*[10] * 400, deadline=3000.0), job(15, deadline=3000.0)
    work = waiting(large, max_tokens=100)
    work.add(small, now=50.0)

    first = work.take_batch(50.0)

    assert first is not None
    assert [item.job for item in first.items][:1] == [small]


def test_a_job_at_its_last_moment_goes_before_all_that_have_time() -> None:
    tight = job(*[10] * 80, deadline=100.0)
    work = waiting(tight)
    for at in range(5):
        work.add(job(1, deadline=3000.0), now=at)

    first = work.take_batch(5.0)

    assert first is not None
    assert first.items[0].job is tight


def test_a_partial_job_larger_than_its_time_neither_leads_nor_counts_for_more_than_that() -> None:
    partial = job(*[10] * 4000, deadline=800.0, partial=True)
    query = job(30, deadline=500.0)
    work = waiting(partial, query)

    first = work.take_batch(0.0)

    assert first is not None
    assert lengths(first) == [30]
    later = job(*[30] * 100, deadline=5000.0)
    work.add(later, now=700.0)
    assert work.finish_s(later, now=700.0) == predicted(3000, others_s=100.0)


def test_bulk_work_has_no_last_moment() -> None:
    bulk = job(*[10] * 80, deadline=100.0, priority=Priority.BULK)
    work = waiting(bulk, job(30, deadline=3000.0))

    first = work.take_batch(0.0)

    assert first is not None
    assert lengths(first) == [30]


def test_a_large_job_that_has_waited_in_proportion_goes_before_new_small_ones() -> None:
    large, small = job(*[10] * 40), job(15)
    work = waiting(large)
    work.add(small, now=390.0)

    first = work.take_batch(390.0)

    assert first is not None
    assert first.items[0].job is large


def test_a_cancelled_job_leaves_at_once_and_its_mates_stay() -> None:
    gone, stays = job(50, 60), job(50, 60)
    work = waiting(gone, stays)

    work.remove(gone)

    assert work.tokens == 110
    assert {item.job for batch in drained(work) for item in batch.items} == {stays}


def test_removing_a_job_that_is_not_there_is_no_error() -> None:
    done = job(50)
    work = waiting(done)
    drained(work)

    work.remove(done)

    assert work.tokens == 0


def test_items_of_one_key_need_one_row_whoever_waits_for_it() -> None:
    first, second = job(58, 60, keys=[b"x", b"y"]), job(58, 61, keys=[b"x", b"z"])
    work = waiting(first, second)

    batch = work.take_batch(0.0)

    assert lengths(batch) == [58, 60, 61]
    assert batch is not None
    assert [(twin.key, twin.tokens) for twin in batch.twins] == [(b"x", 58)]
    assert work.tokens == 0


def test_a_hurried_job_takes_no_twins_into_its_batch_either() -> None:
    work = waiting(job(10, 10, 10, keys=[b"x", b"x", None], partial=True, deadline=5.0))

    batch = work.take_batch(0.0)

    assert batch is not None
    assert [item.index for item in batch.items] == [0, 2]
    assert [twin.index for twin in batch.twins] == [1]


def test_a_removed_job_takes_no_twin_with_it() -> None:
    gone, stays = job(50, keys=[b"x"]), job(50, keys=[b"x"])
    work = waiting(gone, stays)

    work.remove(gone)
    batch = work.take_batch(0.0)

    assert batch is not None
    assert [item.job for item in batch.items] == [stays]
    assert not batch.twins


def test_the_leaders_own_items_go_before_others_that_are_no_nearer() -> None:
    came_first, due_first = job(*[50] * 4), job(*[50] * 3)
    work = waiting(came_first, due_first, max_tokens=150)

    assert [item.job for item in drained(work)[0].items] == [due_first] * 3


def test_a_leader_that_has_time_gives_the_device_the_least_padding() -> None:
    work = waiting(job(100, 92, deadline=500.0), job(100, 98, 93), max_tokens=300)

    assert lengths(work.take_batch(0.0)) == [98, 100, 100]


def test_a_leader_that_has_little_time_goes_before_the_least_padding() -> None:
    pressed = job(100, 92, deadline=70.0)
    work = waiting(pressed, job(100, 98, 93), max_tokens=300)

    batch = work.take_batch(0.0)

    assert lengths(batch) == [92, 100, 100]
    assert not pressed.waiting


def test_where_time_is_short_batches_are_filled_in_the_order_of_turns() -> None:
    jobs = [job(100, deadline=60.0), job(92, deadline=62.0), job(100, deadline=70.0)]
    work = waiting(*reversed(jobs), max_tokens=200)

    assert [item.job for item in drained(work)[0].items] == jobs[:2]


def test_a_newcomer_does_not_overtake_a_job_that_would_be_late_for_it() -> None:
    promised = job(*[10] * 100, deadline=140.0)
    work = waiting(promised, max_tokens=100)
    newcomer = job(*[10] * 12, deadline=20.0)
    work.add(newcomer, now=0.0)

    assert work.finish_s(promised, now=0.0) < 140.0
    assert work.finish_s(newcomer, now=0.0) > 20.0  # so that it is not let in


def test_a_newcomer_overtakes_a_job_that_is_in_time_all_the_same() -> None:
    promised = job(*[10] * 100, deadline=150.0)
    work = waiting(promised, max_tokens=100)
    newcomer = job(*[10] * 5, deadline=14.0)
    work.add(newcomer, now=0.0)

    assert work.finish_s(newcomer, now=0.0) < 14.0


def test_of_two_tenants_the_one_that_has_had_less_goes_first() -> None:
    noisy = [job(*[100] * 50, tenant="noisy", deadline=1e3) for _ in range(5)]
    work = waiting(*noisy, max_tokens=100)
    for at in range(5):
        work.take_batch(float(at))
    quiet = job(100, tenant="quiet")
    work.add(quiet, now=5.0)

    first = work.take_batch(5.0)

    assert first is not None
    assert [item.job for item in first.items] == [quiet]


def test_tenants_who_always_want_more_get_as_much_as_each_other() -> None:
    work = waiting(
        *[job(*[20] * 50, tenant="one with many") for _ in range(20)],
        job(*[200] * 20, tenant="one with long items"),
        max_tokens=200,
    )

    batches = [work.take_batch(float(at)) for at in range(20)]

    tenants = [batch.items[0].job.tenant for batch in batches if batch]
    assert tenants.count("one with many") == 10


def test_who_joins_anothers_batch_pays_for_it() -> None:
    leader = job(*[50] * 3, tenant="a", deadline=200.0)
    guest, third = job(*[50] * 40, tenant="b"), job(*[50] * 40, tenant="c")
    work = waiting(leader, guest, third, max_tokens=500)

    first, second = work.take_batch(0.0), work.take_batch(30.0)

    assert first is not None
    assert second is not None
    assert {item.job.tenant for item in first.items} == {"a", "b"}
    assert second.items[0].job is third


def test_a_pause_earns_a_tenant_no_turns() -> None:
    busy = job(*[100] * 100, tenant="busy")
    work = waiting(busy, job(100, tenant="rested"), max_tokens=100)
    for at in range(50):
        work.take_batch(float(at))
    work.add(job(*[100] * 50, tenant="rested"), now=50.0)

    batches = [work.take_batch(50.0 + at) for at in range(20)]

    tenants = [batch.items[0].job.tenant for batch in batches if batch]
    assert 9 <= tenants.count("rested") <= 11


def test_a_tenants_last_moment_does_not_go_before_another_who_has_had_less() -> None:
    hasty = [job(*[100] * 3, tenant="hasty", deadline=50.0) for _ in range(4)]
    quiet = job(100, tenant="quiet", deadline=500.0)
    work = waiting(*hasty, max_tokens=100)
    work.take_batch(0.0)
    work.add(quiet, now=11.0)

    first = work.take_batch(11.0)

    assert first is not None
    assert first.items[0].job is quiet


def test_a_line_may_wait_with_as_much_as_is_free() -> None:
    work = WaitingWork({"a": Line()}, BatchLimits(1000, NEVER, max_waiting_tokens=1000))

    assert work.excess(job(5000)) == 0  # of any size where nothing waits
    work.add(job(400), now=0.0)
    assert work.excess(job(200)) == 0
    assert work.excess(job(230)) == 30
    assert work.excess(job(600, tenant="another")) == 0
    assert work.excess(job(600, priority=Priority.BULK)) == 0


def test_a_tenant_who_takes_all_the_room_it_gets_leaves_room_for_others() -> None:
    work = WaitingWork({"a": Line()}, BatchLimits(1000, NEVER, max_waiting_tokens=1000))
    for tenant in ("greedy", "greedier", "newcomer"):
        while not work.excess(another := job(10, tenant=tenant)):
            work.add(another, now=0.0)

    assert work.excess(job(10, tenant="last")) == 0


def test_predictions_count_the_batch_that_runs_and_divide_by_the_devices() -> None:
    work = WaitingWork({"a": Line()}, BatchLimits(1000, NEVER), devices=2)
    for _ in range(3):
        work.add(job(100), now=0.0)
        work.take_batch(0.0)
    waits = job(100)
    work.add(waits, now=1.0)

    # Two batches of 11 s run, one a device, 10 of them left; then its own, which is not divided.
    assert work.finish_s(waits, now=1.0) == pytest.approx((10 + 10) / 2 + 1.25 * 10.1)


def test_a_job_of_many_items_is_predicted_to_take_all_devices() -> None:
    work = WaitingWork({"a": Line()}, BatchLimits(1000, NEVER), devices=4)
    waits = job(*[100] * 8)
    work.add(waits, now=0.0)

    assert work.finish_s(waits, now=0.0) == pytest.approx(1.25 * 8 * 10.1 / 4)


def test_a_batch_that_runs_long_is_not_forgotten_for_shorter_ones() -> None:
    work = WaitingWork({"a": Line()}, BatchLimits(1000, NEVER), devices=2)
    for tokens, now in ((1000, 0.0), (10, 0.0), (10, 2.0)):
        work.add(job(tokens), now)
        work.take_batch(now)

    assert work.work_s(4.0) == pytest.approx((101 - 4) / 2)


def test_a_small_job_goes_before_a_large_one_that_many_devices_do_in_time() -> None:
    work = WaitingWork({"a": Line()}, BatchLimits(1000, NEVER), devices=16)
    large, small = job(*[100] * 64, deadline=100.0), job(1, deadline=100.0)
    for each in (large, small):
        work.add(each, now=0.0)

    batch = work.take_batch(0.0)

    assert batch is not None
    assert small in {item.job for item in batch.items}


@pytest.mark.parametrize("callers", [1, 16])
def test_mixed_lengths_pad_little(callers: int) -> None:
    jobs = [
        job(*[20 + (7919 * (i + 32 * caller)) % 230 for i in range(32)])
        for caller in range(callers)
    ]
    batches = drained(waiting(*jobs, max_tokens=2048))

    padded = sum(len(batch.items) * batch.longest for batch in batches)
    real = sum(batch.tokens for batch in batches)

    assert real == sum(sum(each.lengths) for each in jobs)
    assert 1 - real / padded <= 0.05


def test_a_call_that_is_alone_is_shared_by_the_devices() -> None:
    work = WaitingWork({"a": Line()}, BatchLimits(1000, NEVER), devices=2)
    work.add(job(*[10] * 8), now=0.0)

    assert [len(lengths(work.take_batch(0.0))) for _ in range(2)] == [4, 4]


def test_what_costs_less_than_a_batch_of_its_own_is_not_shared() -> None:
    work = WaitingWork({"a": Line()}, BatchLimits(1000, NEVER), devices=2)
    work.add(job(*[1] * 8), now=0.0)

    assert lengths(work.take_batch(0.0)) == [1] * 8


def test_where_much_waits_batches_are_full_on_several_devices_too() -> None:
    work = WaitingWork({"a": Line()}, BatchLimits(1000, NEVER), devices=2)
    work.add(job(*[10] * 400), now=0.0)

    assert lengths(work.take_batch(0.0)) == [10] * 100


def test_a_job_that_all_devices_together_can_do_in_time_is_not_given_up() -> None:
    work = WaitingWork({"a": Line()}, BatchLimits(1000, NEVER), devices=2)
    possible, impossible = job(*[10] * 8, deadline=5.0), job(50, 1, deadline=4.0)
    for each in (possible, impossible):
        work.add(each, now=0.0)

    assert work.give_up(now=0.0) == [impossible]
