"""Laws made plainer say less and still fit together."""

from __future__ import annotations

import numpy as np

from trace_robot.search.feedback_law import Feedback, FeedbackLaw, Quantity, Sum
from trace_robot.search.feedback_law.law import parts, perturbed, size, without_terms

SEEN = (Quantity("number", 3), Quantity("number", 5), Quantity("angle", 0, 1))
SHAPED = Feedback((Sum(((1,),), (2.0,)),), Sum(((), (0,), (1, 1)), (0.5, -1.0, 3.0)))
LINEAR = Feedback((Sum(((2,), (1,)), (-4.0, -1.0)),))
LAW = FeedbackLaw(SEEN, SHAPED, LINEAR, Sum(((0,),), (1.0,)), hysteresis=0.1)


def test_what_no_term_uses_is_no_longer_read() -> None:
    plainer = without_terms(LAW, {2, 6})
    assert size(plainer) == size(LAW) - 2 == 5
    assert plainer.quantities == (SEEN[1], SEEN[2])
    assert plainer.outer.controls[0].products == ((0,),)
    assert plainer.inner == Feedback((Sum(((1,), (0,)), (-4.0, -1.0)),))
    assert plainer.switching_function == Sum((), ())


def test_a_lack_that_is_always_the_same_becomes_part_of_the_gain() -> None:
    plainer = without_terms(FeedbackLaw(SEEN[:2], SHAPED), {2, 3})
    assert plainer == FeedbackLaw((SEEN[1],), Feedback((Sum(((0,),), (1.0,)),)))


def test_the_switch_and_the_lack_can_be_left_out() -> None:
    plainer = parts(LAW)
    assert [law.inner for law in plainer] == [None, None, Feedback((Sum(((2,), (1,)), (-4.0, -1.0)),))]
    assert plainer[0].outer.energy_gain is not None
    assert plainer[1].quantities == (SEEN[1], SEEN[2])
    assert plainer[2].outer == Feedback(SHAPED.controls)


def test_a_disturbed_law_differs_a_little_in_each_number_and_in_nothing_else() -> None:
    other = perturbed(LAW, np.random.default_rng(0))
    for before, after in zip(LAW.sums, other.sums, strict=True):
        assert before.products == after.products
        for weight, changed in zip(before.weights, after.weights, strict=True):
            assert weight != changed
            assert abs(changed - weight) < 0.5 * abs(weight)


def test_a_synergy_that_no_control_uses_goes_with_the_numbers_that_it_alone_reads() -> None:
    synergies = (Sum(((0,), (1,)), (1.0, 2.0)), Sum(((2,),), (3.0,)))
    law = FeedbackLaw(SEEN, Feedback((Sum(((3,), (4,)), (5.0, 6.0)),)), synergies=synergies)
    plainer = without_terms(law, {4})
    assert plainer == FeedbackLaw(SEEN[:2], Feedback((Sum(((2,),), (5.0,)),)), synergies=synergies[:1])
    other = without_terms(law, {0, 3})
    assert other.quantities == SEEN[2:]
    assert other.synergies == (Sum(((0,),), (3.0,)),)
