"""`gradlab doctor --catalogue`: examines both forms of each mistake of the catalogue."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from gradlab.debugger.examine import doctor
from gradlab.gradcheck.problem import one_thread
from gradlab.mistakes.mistake import Builder, Mistake, Proof, prove, seeded
from gradlab.pages.terminal import plain_table, terminal, write

HEADINGS = (
    "mistake",
    "measured symptom",
    "broken",
    "fixed",
    "found when broken",
    "silent when fixed",
)
# The doctor has another name for this mistake: it does not know why a backward pass is wrong.
OTHER_NAMES = {"transposed_backward": "wrong_backward"}


@dataclass(frozen=True)
class SelfTest:
    """The doctor's findings on both forms of a mistake.

    Attributes:
        proof: the measured symptoms.
        broken: the kinds of the findings on the broken form.
        fixed: the kinds of the findings on the fixed form.
    """

    proof: Proof
    broken: tuple[str, ...]
    fixed: tuple[str, ...]

    @property
    def expected(self) -> str:
        """The kind of the only correct finding on the broken form."""
        return OTHER_NAMES.get(self.proof.mistake.name, self.proof.mistake.name)

    @property
    def is_found(self) -> bool:
        """Whether the broken form has the expected finding and no other."""
        return self.broken == (self.expected,)

    @property
    def holds(self) -> bool:
        """Whether the proof holds, the mistake is found, and the fixed form has no finding."""
        return self.proof.holds and self.is_found and not self.fixed


def run_self_test(mistake: Mistake, seed: int = 0) -> SelfTest:
    """Measure and examine both forms of a mistake."""
    forms = (_findings(form, seed) for form in (mistake.broken, mistake.fixed))
    return SelfTest(prove(mistake, seed), *forms)


def _findings(form: Builder, seed: int) -> tuple[str, ...]:
    with seeded(seed), one_thread():
        program = form(seed)
        found = doctor(program.step, program.model, program.optimizer, program.batches)
    return tuple(each.kind for each in found)


def cells(test: SelfTest) -> tuple[str, ...]:
    """Return the cells of one mistake, one for each heading."""
    proof, findings = test.proof, ", ".join(test.broken) or "no"
    yes = "yes" if test.expected == proof.mistake.name else f"yes, as {test.expected}"
    return (
        proof.mistake.name,
        proof.fixed.name,
        str(proof.broken),
        str(proof.fixed),
        yes if test.is_found else findings,
        ", ".join(test.fixed) or "yes",
    )


def summary(tests: Sequence[SelfTest]) -> str:
    """Return the numbers of mistakes found and of fixed forms without a finding, in one line."""
    n, found = len(tests), sum(test.is_found for test in tests)
    silent = sum(not test.fixed for test in tests)
    return f"found when broken: {found} of {n}; silent when fixed: {silent} of {n}"


def print_table(tests: Sequence[SelfTest], console: Console | None = None) -> None:
    """Print one row for each mistake, and the summary."""
    console = terminal(console)
    out = plain_table(console)
    for heading in HEADINGS:
        is_number, is_name = heading in ("broken", "fixed"), heading == "mistake"
        justify = "right" if is_number else "left"
        out.add_column(heading, justify=justify, no_wrap=is_number or is_name)
    for test in tests:
        out.add_row(*map(Text, cells(test)), style="" if test.holds else "red")
    write(console, out, Text(summary(tests)))


def to_markdown(tests: Sequence[SelfTest]) -> str:
    """Return the table and the summary in Markdown, each name linked to its page."""
    rows = [HEADINGS, ["---"] * len(HEADINGS)]
    for test in tests:
        name, *others = cells(test)
        rows.append([f"[{name}](mistakes.md#{name})", *others])
    lines = [f"| {' | '.join(each)} |" for each in rows]
    return "\n".join([*lines, "", f"{summary(tests)}."])
