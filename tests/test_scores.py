"""Scores: intervals against scipy, and the one text that each result becomes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from trace_robot.stats import Difference, Returns, Score, measure_of, note_of

RETURNS = [780.0, 790.0, 801.0, 770.0, 784.0]


def score(values: list[float], measure: str, success: float = 0.0) -> Score:
    return Score(success, len(values), Returns.of(values), measure)  # type: ignore[arg-type]


def test_the_interval_of_a_mean_return_is_students() -> None:
    returns = Returns.of(RETURNS)
    assert returns is not None
    wanted = scipy_stats.t.interval(0.95, 4, np.mean(RETURNS), scipy_stats.sem(RETURNS))
    assert returns.interval == pytest.approx(wanted, rel=1e-4)
    assert Returns.of([float("nan")]) is None
    assert Returns.of([5.0, float("nan")]) == Returns(5.0, 0.0, 1)


def test_sums_and_groups_give_the_returns_of_all_episodes() -> None:
    whole = Returns.of(RETURNS)
    assert whole is not None
    sums = Returns.from_sums(5, sum(RETURNS), sum(value**2 for value in RETURNS))
    groups = [group for group in (Returns.of(RETURNS[:2]), Returns.of(RETURNS[2:])) if group]
    for other in (sums, Returns.pooled(groups)):
        assert other is not None
        assert (other.mean, other.deviation) == pytest.approx((whole.mean, whole.deviation))
        assert other.episodes == 5
    assert Returns.from_sums(0, 0.0, 0.0) is None


def test_the_difference_of_two_means_is_welchs_and_never_sure_of_single_episodes() -> None:
    others = [800.0, 900.0, 850.0, 870.0, 830.0]
    found = Difference.of(score(RETURNS, "return"), score(others, "return"))
    wanted = scipy_stats.ttest_ind(others, RETURNS, equal_var=False).confidence_interval()
    assert found.measure == "return"
    assert found.value == pytest.approx(65.0)
    low, high = found.interval
    # The table of quantiles has whole degrees of freedom, so that the interval is a little wide.
    assert wanted.low - 10 < low <= wanted.low
    assert wanted.high <= high < wanted.high + 10
    assert found.is_sure
    assert not Difference.of(score([1.0], "return"), score([9.0], "return")).is_sure


@pytest.mark.parametrize(
    ("measure", "success", "brief", "text"),
    [
        ("success", 0.8, "0.80", "0.80 of 5 (0.38 to 0.96)"),
        ("return", 0.0, "return 785", "return 785 (771 to 799) of 5"),
        ("both", 0.0, "0.00, return 785", "return 785 (771 to 799), success 0.00 of 5 (0.00 to 0.43)"),
        # An environment of which nothing says what success is, and that reports one all the same.
        ("return", 0.2, "0.20, return 785", "return 785 (771 to 799), success 0.20 of 5 (0.04 to 0.62)"),
    ],
)
def test_a_score_is_shown_by_what_its_environment_has(
    measure: str, success: float, brief: str, text: str
) -> None:
    found = score(RETURNS, measure, success)
    assert (found.brief, found.text) == (brief, text)


def test_a_return_comes_first_where_nothing_or_only_a_return_is_a_success() -> None:
    assert measure_of("", None) == "return"
    assert measure_of("the sum is at least 4800", 4800.0) == "both"
    assert measure_of("the hand is at the goal", None) == "success"


def test_what_led_on_few_conditions_and_not_on_all_is_not_called_the_best() -> None:
    note = "another program: best so far, on 4 conditions alone: bring tip to target"
    assert note_of(note, better=True) == note
    assert (
        note_of(note, better=False)
        == "another program: led on 4 conditions alone, not on all: bring tip to target"
    )
    assert (
        note_of("best so far, on 1 condition alone", better=False) == "led on 1 condition alone, not on all"
    )
