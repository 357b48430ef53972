"""How findings print, compare and show in a notebook."""

from gradlab import schema
from gradlab.diagnosis.diagnose import RULES
from gradlab.diagnosis.finding import Finding, Findings
from gradlab.pages import style

LOST = Finding("vanishing", (1, 2), 0, "gross", "a < b & c", {"decades": -7.0}, ("optim=adam",))
NOTE = Finding("clipping", (), 3, "note", "clip=norm never: it can be left out")


def test_findings_compare_and_index_like_a_tuple():
    found = Findings([LOST, NOTE])
    assert found == (LOST, NOTE)
    assert found == [LOST, NOTE]
    assert found != [LOST]
    assert found[0] is LOST
    assert found[1:] == Findings([NOTE])
    assert (len(found), bool(Findings()), LOST in found) == (2, False, True)


def test_findings_print_as_a_list():
    text = """1. vanishing, gross, since step 0: a < b & c
   try: optim=adam
2. clipping, note, since step 3: clip=norm never: it can be left out"""
    assert str(Findings([LOST, NOTE])) == repr(Findings([LOST, NOTE])) == text
    assert str(Findings([NOTE])).splitlines()[0] == "healthy:"
    assert str(Findings([LOST], diverged=True)).splitlines()[0] == "diverged:"
    assert str(Findings()) == "healthy: nothing found"


def test_the_verdict_is_the_gravest_finding_that_is_no_note():
    assert Findings([NOTE, LOST]).verdict == "vanishing"
    assert Findings([NOTE]).verdict == Findings().verdict == "healthy"
    assert Findings([LOST], diverged=True).verdict == "diverged"


def test_a_notebook_shows_an_escaped_table():
    shown = Findings([LOST])._repr_html_()
    assert "a &lt; b &amp; c" in shown
    assert "<code>optim=adam</code>" in shown
    assert "nothing found" in Findings()._repr_html_()


def test_every_verdict_of_the_schema_has_a_colour_in_the_figures():
    assert {*style.VERDICTS} == {*schema.VERDICTS}


def test_no_rule_is_listed_twice():
    assert len({*RULES}) == len(RULES)
