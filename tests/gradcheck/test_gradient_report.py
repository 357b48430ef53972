"""The result of a gradient check in a terminal and in a notebook."""

import numpy as np

from gradlab import check_gradients


def test_a_wrong_gradient_is_shown_in_text_and_html():
    report = check_gradients(lambda x: (x**3).sum(), np.ones(2), gradient=lambda x: 2 * x**2)
    assert repr(report) == "GradientReport(the error enters at x)"
    assert "WRONG" in str(report)
    assert report._repr_html_().count("<tr>") == 2
    assert "<p>wrong: x</p>" in report._repr_html_()


def test_names_are_escaped_in_a_notebook():
    point = {"<b>": np.ones(2)}
    report = check_gradients(
        lambda x: (x["<b>"] ** 2).sum(), point, gradient=lambda x: {"<b>": 2 * x["<b>"]}
    )
    assert report.passed
    assert "&lt;b&gt;" in report._repr_html_()
