"""The rule before `champion`: known cases, and that no model passes which is worse than allowed."""
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serep.training.gate import Bar, judge, refusal

LOW, HIGH = Bar("error", "lower", margin=0.1, bound="still"), Bar("found", "higher", margin=0.05, bound=0.5)


def said(bar: Bar, scores: dict, champion: dict) -> str | None:
    return refusal(judge({"bar": bar}, scores, champion))


@pytest.mark.parametrize(
    ("bar", "scores", "champion", "expected"),
    [
        (LOW, {"error": 1.0, "still": 2}, {}, None),
        (LOW, {"error": 1.09, "still": 2}, {"error": 1.0}, None),
        (LOW, {"error": 1.2, "still": 2}, {"error": 1.0}, "error is 1.2, worse than the champion's 1 by 0.2 (margin 0.1)"),
        (LOW, {"error": 2.5, "still": 2}, {}, "error is 2.5, beyond its bound still = 2 by 0.5"),
        (LOW, {"error": 1.0}, {}, "error cannot be compared with still, which is missing"),
        (LOW, {"error": math.nan, "still": 2}, {"error": 1.0}, "error is nan: an unmeasured model is not released"),
        (LOW, {"still": 2}, {"error": 1.0}, "error is missing: an unmeasured model is not released"),
        (LOW, {"error": 1.0, "still": 2}, {"error": math.nan}, None),
        (HIGH, {"found": 0.9}, {"found": 0.8}, None),
        (HIGH, {"found": 0.7}, {"found": 0.8}, "found is 0.7, worse than the champion's 0.8 by 0.1 (margin 0.05)"),
        (HIGH, {"found": 0.4}, {}, "found is 0.4, beyond its bound 0.5 by 0.1"),
    ],
)
def test_known_cases(bar, scores, champion, expected):
    assert said(bar, scores, champion) == expected


def test_every_miss_is_said():
    assert said(LOW, {"error": 3, "still": 2}, {"error": 1}).count(";") == 1
    verdicts = judge({"a": LOW, "b": HIGH}, {"error": 1.5, "still": 2}, {"error": 1.0, "found": 0.9})
    assert refusal(verdicts) == "error is 1.5, worse than the champion's 1 by 0.5 (margin 0.1); found is missing: an unmeasured model is not released"
    assert [verdict.champion for verdict in verdicts] == [1.0, 0.9]


@given(value=st.floats(), champion=st.floats(allow_nan=False, allow_infinity=False), margin=st.floats(0, 1e6), higher=st.booleans())
def test_nothing_worse_than_the_margin_passes(value, champion, margin, higher):
    bar = Bar("metric", "higher" if higher else "lower", margin, None)
    passes = said(bar, {"metric": value}, {"metric": champion}) is None
    assert passes == (math.isfinite(value) and (champion - value if higher else value - champion) <= margin)
