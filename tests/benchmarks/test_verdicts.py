"""docs/evaluation.md says how verdicts differ as it is."""

from benchmarks import verdicts


def test_the_page_has_the_shares_that_the_cases_give():
    assert verdicts.text() in verdicts.PAGE.read_text("utf-8")
