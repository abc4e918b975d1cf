from finesieve_server.rpc.retry_budget import RetryBudget


def tries_again(budget: RetryBudget, refused_of_ten: int, calls: int = 1000) -> float:
    """Return the share of refused calls that are tried once more; the others are answered."""
    refused = [at for at in range(calls) if at % 10 < refused_of_ten]
    again = 0
    for at in range(calls):
        if at % 10 < refused_of_ten:
            again += budget.spend()
        else:
            budget.earn()
    return again / len(refused)


def test_where_a_third_is_refused_every_call_is_tried_again() -> None:
    assert tries_again(RetryBudget(), refused_of_ten=3) == 1.0


def test_where_most_is_refused_trying_again_adds_little() -> None:
    budget = RetryBudget()
    tries_again(budget, refused_of_ten=8)  # what a quiet time before had left

    assert tries_again(budget, refused_of_ten=8) * 0.8 <= 0.1


def test_where_nothing_is_answered_nothing_is_tried_again() -> None:
    budget = RetryBudget()
    tries_again(budget, refused_of_ten=10)

    assert tries_again(budget, refused_of_ten=10) == 0.0
