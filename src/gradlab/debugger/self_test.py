"""`gradlab doctor --catalogue`: the doctor on each mistake of the catalogue, broken and fixed."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from gradlab.debugger.doctor import doctor
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
# What the doctor calls by another name: it sees that a backward pass is wrong, not through what.
OWN_WORDS = {"transposed_backward": "wrong_backward"}


@dataclass(frozen=True)
class Consultation:
    """What was measured of a mistake, and what the doctor said of both of its forms."""

    proof: Proof
    broken: tuple[str, ...]
    fixed: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the doctor should say of the broken form, and nothing besides."""
        return OWN_WORDS.get(self.proof.mistake.name, self.proof.mistake.name)

    @property
    def is_found(self) -> bool:
        """Whether it named the mistake, and nothing else."""
        return self.broken == (self.name,)

    @property
    def holds(self) -> bool:
        """Whether the symptom is there, the mistake is found, and nothing is said of the fix."""
        return self.proof.holds and self.is_found and not self.fixed


def consult(mistake: Mistake, seed: int = 0) -> Consultation:
    """Measure both forms of a mistake, and give each to the doctor."""
    forms = (_said(form, seed) for form in (mistake.broken, mistake.fixed))
    return Consultation(prove(mistake, seed), *forms)


def _said(form: Builder, seed: int) -> tuple[str, ...]:
    with seeded(seed), one_thread():
        practice = form(seed)
        found = doctor(practice.step, practice.model, practice.optimizer, practice.batches)
    return tuple(each.kind for each in found)


def row(one: Consultation) -> tuple[str, ...]:
    """Return a mistake's cells, one for each heading."""
    proof, told = one.proof, ", ".join(one.broken) or "no"
    yes = "yes" if one.name == proof.mistake.name else f"yes, as {one.name}"
    return (
        proof.mistake.name,
        proof.fixed.name,
        str(proof.broken),
        str(proof.fixed),
        yes if one.is_found else told,
        ", ".join(one.fixed) or "yes",
    )


def total(all_of_them: Sequence[Consultation]) -> str:
    """Return the last line: how many were found, and how many fixed forms left in peace."""
    n, found = len(all_of_them), sum(one.is_found for one in all_of_them)
    silent = sum(not one.fixed for one in all_of_them)
    return f"found when broken: {found} of {n}; silent when fixed: {silent} of {n}"


def table(all_of_them: Sequence[Consultation], console: Console | None = None) -> None:
    """Print a line for each mistake."""
    console = terminal(console)
    out = plain_table(console)
    for heading in HEADINGS:
        is_number, is_name = heading in ("broken", "fixed"), heading == "mistake"
        justify = "right" if is_number else "left"
        out.add_column(heading, justify=justify, no_wrap=is_number or is_name)
    for one in all_of_them:
        out.add_row(*map(Text, row(one)), style="" if one.holds else "red")
    write(console, out, Text(total(all_of_them)))


def markdown(all_of_them: Sequence[Consultation]) -> str:
    """Return the same as a table of Markdown, each name a link to its page."""
    rows = [HEADINGS, ["---"] * len(HEADINGS)]
    for one in all_of_them:
        name, *cells = row(one)
        rows.append([f"[{name}](mistakes.md#{name})", *cells])
    lines = [f"| {' | '.join(each)} |" for each in rows]
    return "\n".join([*lines, "", f"{total(all_of_them)}."])
