"""How findings print, compare and show in a notebook."""

from dataclasses import replace

from gradlab import schema
from gradlab.diagnosis.diagnose import RULES
from gradlab.diagnosis.finding import Finding, Findings
from gradlab.pages import style

LOST = Finding(
    kind="vanishing",
    where=(1, 2),
    since=0,
    severity="severe",
    cause="a < b & c, because d; theory expects e",
    evidence={"decades": -7.0},
    remedies=("optim=adam", "clip=norm"),
)
NOTE = Finding("clipping", (), 3, "note", "clip=norm never changes the gradient")


def test_findings_compare_and_index_like_a_tuple():
    found = Findings([LOST, NOTE])
    assert found == (LOST, NOTE)
    assert found == [LOST, NOTE]
    assert found != [LOST]
    assert found[0] is LOST
    assert found[1:] == Findings([NOTE])
    assert (len(found), bool(Findings()), LOST in found) == (2, False, True)


def test_findings_print_as_a_list():
    text = """1. vanishing, severe, since step 0: a < b & c.
   cause:  d
   theory: e
   try:    optim=adam or clip=norm   (or gradlab cure DIR)
2. clipping, note, since step 3: clip=norm never changes the gradient."""
    assert str(Findings([LOST, NOTE])) == repr(Findings([LOST, NOTE])) == text
    assert str(Findings([NOTE])).splitlines()[0] == "healthy:"
    assert str(Findings([LOST], diverged=True)).splitlines()[0] == "diverged:"
    assert str(Findings()) == "healthy: nothing found"


def test_code_for_a_watched_network_prints_one_line_for_each_remedy():
    lines = str(replace(LOST, remedies=("model.float()", "model.double()"))).splitlines()
    assert lines[-2:] == ["  try:    model.float()", "          model.double()"]


def test_the_verdict_is_the_gravest_finding_that_is_not_a_note():
    assert Findings([NOTE, LOST]).verdict == "vanishing"
    assert Findings([NOTE]).verdict == Findings().verdict == "healthy"
    assert Findings([LOST], diverged=True).verdict == "diverged"


def test_a_notebook_shows_an_escaped_table():
    shown = Findings([LOST])._repr_html_()
    assert '<td style="text-align: left; vertical-align: top">a &lt; b &amp; c</td>' in shown
    assert ">d</td>" in shown
    assert ">e</td>" in shown
    assert "<code>optim=adam</code>" in shown
    assert "nothing found" in Findings()._repr_html_()


def test_every_verdict_of_the_schema_has_a_colour_in_the_figures():
    assert {*style.VERDICTS} == {*schema.VERDICTS}


def test_no_rule_is_listed_twice():
    assert len({*RULES}) == len(RULES)
