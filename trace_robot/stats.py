"""Scores with their confidence intervals (Wilson, Student, Welch) and their text.

Everything that shows a result gets its text from a ``Score``, so that an environment in which nothing is a success
shows its return everywhere.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

Measure = Literal["success", "return", "both"]
SHOWN: tuple[Measure, ...] = get_args(Measure)
LED = re.compile(r"best so far, on (\d+ conditions?) alone")


def wilson(successes: int, episodes: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the Wilson score interval of a success rate (Wilson, 1927).

    Args:
        successes: how many.
        episodes: of how many; (0, 1) is returned for none.
        z: standard normal quantile, 1.96 for 95 %.
    """
    if episodes <= 0:
        return 0.0, 1.0
    rate = successes / episodes
    middle = rate + z * z / (2 * episodes)
    spread = z * math.sqrt(rate * (1 - rate) / episodes + z * z / (4 * episodes * episodes))
    scale = 1 + z * z / episodes
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def difference(first: tuple[int, int], second: tuple[int, int]) -> tuple[float, float]:
    """Return the 95 % interval of the second success rate minus the first.

    From the Wilson intervals of both (Newcombe, 1998, method 10).

    Args:
        first: (successes, episodes).
        second: (successes, episodes).
    """
    (low_1, high_1), (low_2, high_2) = wilson(*first), wilson(*second)
    rate_1, rate_2 = (wins / max(1, episodes) for wins, episodes in (first, second))
    gap = rate_2 - rate_1
    down = math.sqrt((rate_2 - low_2) ** 2 + (high_1 - rate_1) ** 2)
    up = math.sqrt((high_2 - rate_2) ** 2 + (rate_1 - low_1) ** 2)
    return gap - down, gap + up


# 97.5 % quantiles of Student's t for 1 to 30 degrees of freedom, beyond them the normal distribution's. A table,
# because scipy takes longer to load than a report to write.
T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


def student_t(degrees: float) -> float:
    """Return the 97.5 % quantile of Student's t, of the next lower whole degrees."""
    return T[max(1, int(degrees)) - 1] if degrees < len(T) + 1 else 1.96


def mean_difference(first: tuple[float, float, int], second: tuple[float, float, int]) -> tuple[float, float]:
    """Return the 95 % interval of the second mean minus the first (Welch, 1947).

    Args:
        first: (mean, standard deviation of a sample, episodes).
        second: likewise.

    Returns:
        Both ends; without bounds where one of them is of a single episode, which has no known deviation.
    """
    if min(first[2], second[2]) < 2:
        return -math.inf, math.inf
    gap = second[0] - first[0]
    shares = [deviation * deviation / count for _, deviation, count in (first, second)]
    error = math.sqrt(sum(shares))
    below = sum(
        share * share / (count - 1) for share, (_, _, count) in zip(shares, (first, second), strict=True)
    )
    spread = student_t(sum(shares) ** 2 / below if below > 0 else 1.0) * error
    return gap - spread, gap + spread


def three_digits(number: float, *, zeros: bool = False) -> str:
    """Return a number as text: three digits, and no exponent of large ones.

    Args:
        number: what to write.
        zeros: keep zeros at its end, as in a column: 0.600, not 0.6.
    """
    if abs(number) >= 999.5:
        return f"{number:,.0f}"
    return f"{number:#.3g}".removesuffix(".") if zeros else f"{number:.3g}"


def measure_of(success: Any, return_threshold: Any) -> Measure:
    """Return what is shown of an environment's results.

    Args:
        success: of its ``TaskSpec``: what success is, as text.
        return_threshold: likewise: the return that is a success, or None.

    Returns:
        "both" where a sum of rewards is a success, "return" where nothing is, else "success".
    """
    if return_threshold is not None:
        return "both"
    return "success" if success else "return"


def steps_text(steps: int, *, among: str) -> str:
    """Return a run's simulator steps as text.

    Args:
        steps: how many.
        among: "with" or "without" the held-out episodes, "" before there are any.
    """
    text = f"{steps:,} simulator step{'s' * (steps != 1)}"
    return f"{text} {among} the held-out episodes" if among else text


def note_of(note: str, *, better: bool) -> str:
    """Return what was changed in an iteration, as it reads beside its score.

    A search calls a candidate the best so far on the few conditions that it was tried on. On all it may not be.

    Args:
        note: of the candidate.
        better: whether it became the best of the run.
    """
    return note if better else LED.sub(r"led on \1 alone, not on all", note)


@dataclass(frozen=True, slots=True)
class Returns:
    """The returns of episodes: their mean and standard deviation (of a sample)."""

    mean: float
    deviation: float
    episodes: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Returns | None:
        """Return those of finite values, None without any: a fault may leave NaN."""
        finite = [value for value in values if math.isfinite(value)]
        if not finite:
            return None
        deviation = statistics.stdev(finite) if len(finite) > 1 else 0.0
        return cls(statistics.fmean(finite), deviation, len(finite))

    @classmethod
    def from_sums(cls, count: int, total: float, squares: float) -> Returns | None:
        """Return those of sums, as a database makes them, None of no episodes.

        Args:
            count: of the episodes.
            total: sum of the returns.
            squares: sum of their squares.
        """
        if count < 1 or not (math.isfinite(total) and math.isfinite(squares)):
            return None
        variance = max(0.0, squares - total * total / count) / (count - 1) if count > 1 else 0.0
        return cls(total / count, math.sqrt(variance), count)

    @classmethod
    def pooled(cls, groups: Iterable[Returns]) -> Returns | None:
        """Return those of all episodes of some groups, None without any."""
        groups = list(groups)
        count = sum(group.episodes for group in groups)
        if not count:
            return None
        mean = sum(group.mean * group.episodes for group in groups) / count
        within = sum(group.deviation**2 * (group.episodes - 1) for group in groups)
        between = sum((group.mean - mean) ** 2 * group.episodes for group in groups)
        return cls(mean, math.sqrt((within + between) / (count - 1)) if count > 1 else 0.0, count)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the mean (Student's t), of one episode the mean."""
        if self.episodes < 2:
            return self.mean, self.mean
        spread = student_t(self.episodes - 1) * self.deviation / math.sqrt(self.episodes)
        return self.mean - spread, self.mean + spread


@dataclass(frozen=True, slots=True)
class Score:
    """A success rate, from 0 to 1, and the returns of the same episodes.

    Attributes:
        success: rate, from 0 to 1.
        episodes: on which it was measured.
        returns: None where they are not known.
        measure: which of the two is shown.
    """

    success: float
    episodes: int
    returns: Returns | None = None
    measure: Measure = "success"

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson score interval of the success rate."""
        # The rate is stored, not the count: the product is whole but for rounding.
        return wilson(round(self.success * self.episodes), self.episodes)

    @property
    def shows_return(self) -> bool:
        """Whether the return comes first."""
        return self.measure != "success" and self.returns is not None

    @property
    def shows_success(self) -> bool:
        """Whether a rate is shown: also where an episode succeeded unexpectedly."""
        return not self.shows_return or self.measure == "both" or self.success > 0

    @property
    def brief(self) -> str:
        """The score for a table's cell: "0.93", "return 785", "0.93, return 785"."""
        rate = f"{self.success:.2f}"
        if self.returns is None or not self.shows_return:
            return rate
        mean = f"return {three_digits(self.returns.mean)}"
        return f"{rate}, {mean}" if self.shows_success else mean

    @property
    def text(self) -> str:
        """The score with intervals, such as "return 785 (770 to 801) of 50"."""
        low, high = self.interval
        rate = f"{self.success:.2f} of {self.episodes} ({low:.2f} to {high:.2f})"
        if self.returns is None or not self.shows_return:
            return rate
        return (
            f"{self.return_text}, success {rate}"
            if self.shows_success
            else f"{self.return_text} of {self.episodes}"
        )

    @property
    def return_text(self) -> str:
        """The mean return with its interval, such as "return 785 (770 to 801)"."""
        if self.returns is None:
            return ""
        low, high = map(three_digits, self.returns.interval)
        return f"return {three_digits(self.returns.mean)} ({low} to {high})"

    def to_data(self) -> dict[str, Any]:
        """Return it as ``--json`` prints it."""
        returns = self.returns
        return {
            "success": self.success,
            "episodes": self.episodes,
            "interval": list(self.interval),
            "return": None if returns is None else returns.mean,
            "return_interval": None if returns is None else list(returns.interval),
            "measure": self.measure,
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """The second score minus the first.

    Attributes:
        measure: what was subtracted, "success" or "return".
        value: the difference.
        interval: its 95 % interval: Newcombe's of rates, Welch's of means.
    """

    measure: Literal["success", "return"]
    value: float
    interval: tuple[float, float]

    @classmethod
    def of(cls, first: Score, second: Score) -> Difference:
        """Return the difference of what the scores show first.

        Args:
            first: subtracted from the other.
            second: from which it is subtracted.
        """
        if first.shows_return and second.shows_return and (means := cls._of_means(first, second)):
            return means
        return cls._of_rates(first, second)

    @classmethod
    def each_of(cls, first: Score, second: Score) -> list[Difference]:
        """Return the differences of both measures, what the scores show first first.

        Args:
            first: subtracted from the other.
            second: from which it is subtracted.

        Returns:
            The success alone where the returns of one are not known.
        """
        rates, means = cls._of_rates(first, second), cls._of_means(first, second)
        if means is None:
            return [rates]
        return [means, rates] if cls.of(first, second).measure == "return" else [rates, means]

    @classmethod
    def _of_means(cls, first: Score, second: Score) -> Difference | None:
        a, b = first.returns, second.returns
        if a is None or b is None:
            return None
        interval = mean_difference((a.mean, a.deviation, a.episodes), (b.mean, b.deviation, b.episodes))
        return cls("return", b.mean - a.mean, interval)

    @classmethod
    def _of_rates(cls, first: Score, second: Score) -> Difference:
        # The interval of a difference of two proportions needs counts; a score keeps the rate.
        counts = [(round(score.success * score.episodes), score.episodes) for score in (first, second)]
        return cls("success", second.success - first.success, difference(*counts))

    @property
    def is_sure(self) -> bool:
        """Whether the interval is on one side of 0."""
        return self.interval[0] > 0 or self.interval[1] < 0

    @property
    def chance(self) -> str:
        """Whether chance may explain it: "more than chance" or "may be chance"."""
        return "more than chance" if self.is_sure else "may be chance"

    @property
    def text(self) -> str:
        """The difference as text, with a sign: "+12 (95 % interval -3 to +27)"."""
        value, low, high = (self._signed(number) for number in (self.value, *self.interval))
        return f"{value} (95 % interval {low} to {high})"

    def to_data(self) -> dict[str, Any]:
        """Return it as ``--json`` prints it."""
        return {"difference": self.value, "interval": list(self.interval), "measure": self.measure}

    def _signed(self, number: float) -> str:
        if self.measure == "success":
            return f"{number:+.2f}"
        return f"{'-' if number < 0 else '+'}{three_digits(abs(number))}"
