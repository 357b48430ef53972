"""Numbers as text: decades always come with the plain factor."""

import pytest

from gradlab.pages.numbers import decades_text, factor_text


@pytest.mark.parametrize(
    ("decades", "text"),
    [
        (0.0, "1-fold"),
        (0.06, "1.1-fold"),
        (0.5, "3.2-fold"),
        (0.999, "10-fold"),
        (1.0, "10-fold"),
        (3.2, "1,600-fold"),
        (-3.2, "1,600-fold"),
        (5.999, "1-million-fold"),
        (6.1, "1.3-million-fold"),
        (8.5, "320-million-fold"),
        (9.0, "1-billion-fold"),
        (12.3, "2-trillion-fold"),
        (15.0, "1,000-trillion-fold"),
        (17.6, "10^17.6-fold"),
        (400.0, "10^400.0-fold"),
    ],
)
def test_the_plain_factor_of_decades(decades, text):
    assert factor_text(decades) == text


def test_decades_come_with_their_plain_factor():
    assert decades_text(8.5) == "8.5 decades (320-million-fold)"
    assert decades_text(-1.0) == "1.0 decades (10-fold)"
    assert decades_text(17.62) == "17.6 decades (10^17.6-fold)"
