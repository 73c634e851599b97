"""Error codes are found by the words a person types."""

from __future__ import annotations

import pytest

from runner.exchanges.lookup import error_page, find_error


@pytest.mark.parametrize(
    ("topic", "type", "says"),
    [
        ("binance -2019", "binance_usdm", "margin does not suffice"),
        ("Binance_USDM -4116", "binance_usdm", "never sent again"),
        ("binance_spot -1021", "binance_spot", "receive window"),
        ("bybit 110007", "bybit_linear", "balance or margin"),
        ("110007", "bybit_linear", "balance or margin"),
        ("-2019", "binance_usdm", "margin does not suffice"),
    ],
)
def test_a_code_is_found_and_explained(topic: str, type: str, says: str) -> None:
    assert [found for found, _ in find_error(topic)] == [type]
    page = error_page(topic)
    assert page is not None and says in page and "what to do" in page


def test_a_code_that_means_the_same_on_two_markets_is_told_once() -> None:
    assert len(find_error("binance -1021")) == 1


@pytest.mark.parametrize("topic", ["", "binance", "binance 5", "kraken -1", "-77777", "zscore"])
def test_what_is_no_code_is_not_found(topic: str) -> None:
    assert find_error(topic) == [] and error_page(topic) is None
