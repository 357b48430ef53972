"""Plain language: words and constructions that readers had to read twice do not come back.

The list is an aid, not a style guide: a text can pass and still read oddly.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "conf", "docs", "experiments", "benchmarks", "tests")

NAMES = {
    "alike": "`equal`, `same` or `symmetric`",
    "apart": "`separate` or `different`",
    "asked": "`requested`",
    "blame": "`locate` or `cause`",
    "heard": "`recorded` or `hooked`",
    "inflow": "`input_gradient`",
    "judge": "`diagnose`",
    "kept": "`saved` or `unchanged`",
    "lab": "`monitor`",
    "lent": "`alias`",
    "offers": "`remedies`",
    "outlet": "`sink`",
    "outlets": "`sinks`",
    "overheard": "`hooks`",
    "patient": "`run`",
    "roll": "`parameter_names`",
    "rounds": "`steps`",
    "said": "`message` or `text`",
    "seat": "`job`",
    "seats": "`jobs`",
    "site": "`module`",
    "sites": "`modules`",
    "tally": "`outcomes`",
    "tell": "`print`, `format` or `describe`",
    "thaw": "`unfreeze`",
    "told": "`message`, `lines` or `text`",
    "undo": "`restore`",
}
"""Words in identifiers and file names, each with the word to use instead."""

PROSE = {
    r"\bwhat (?:is|it|they|was|were|has|have|that|nobody|one)\b": "name the thing",
    r"\b(?:told|tells?|said|says?|telling|saying)\b": "use print, report, state, name, show",
    r"\b(?:that of|those of|one that|ones that|such as it)\b": "repeat the noun",
    r"\b(?:alike|apart|besides?|asunder)\b": "use equal, separate, next to, also",
    r"\b(?:heard|hears?|overhear\w*|asked|asks|whence|thereof|therein|nought|seats?)\b": (
        "use record, hook, request"
    ),
    r"\b(?:its|their|our|your) own\b|\bof one's own\b": "write `its`, or name the owner",
    r"\b(?:is|are|was|were) no\b(?! longer)": "write `is not a`, `does not exist`, or `none`",
    r"\b(?:sick|sickness|patients?|cured)\b(?! run)": "name the finding",
}
"""Constructions in documentation, docstrings and comments, each with a plainer way."""

ALLOWED: dict[tuple[str, str], str] = {
    ("src/gradlab/mistakes/cases/kept_graph.py", "kept"): "a public name of the catalogue",
}
"""Exceptions: file and matched text, with the reason."""

QUOTED = re.compile(r"```.*?```|~~~.*?~~~|``.*?``|`[^`]*`|https?://\S+|\]\([^)]*\)", re.DOTALL)


def files(*suffixes: str) -> list[Path]:
    """Return the project's files, without programs as other people write them."""
    found = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    for folder in FOLDERS:
        found += sorted((ROOT / folder).rglob("*"))
    skipped = {"__pycache__", "wandb", "outputs", "multirun", "programs"}
    return [p for p in found if p.suffix in suffixes and not skipped & set(p.parts)]


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line number and text of every piece of prose in a file."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        text = QUOTED.sub(lambda m: "CODE" + "\n" * m[0].count("\n"), source)
        for number, line in enumerate(text.splitlines(), 1):
            if not line.startswith(("    ", "|")):
                yield number, line
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), QUOTED.sub("CODE", text)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and "noqa" not in token.string:
            yield token.start[0], QUOTED.sub("CODE", token.string)


def identifiers(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line number and name of everything that a file defines or binds."""
    yield 1, path.stem
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def words(name: str) -> list[str]:
    """Return the words of an identifier: `first_nonfinite` and `FirstNonfinite` have two."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def is_allowed(path: Path, text: str) -> bool:
    return (str(path.relative_to(ROOT)), text.lower()) in ALLOWED


@pytest.mark.parametrize("path", files(".py"), ids=lambda p: str(p.relative_to(ROOT)))
def test_names_are_words_of_the_field(path):
    found = [
        f"{path.relative_to(ROOT)}:{line} {name}: use {NAMES[word]}"
        for line, name in identifiers(path)
        for word in words(name)
        if word in NAMES and not is_allowed(path, word)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", files(".py", ".md"), ids=lambda p: str(p.relative_to(ROOT)))
def test_prose_is_plain(path):
    if path == Path(__file__):
        return  # the list itself
    found = [
        f"{path.relative_to(ROOT)}:{line} {match[0]!r}: {reason}"
        for line, text in prose(path)
        for pattern, reason in PROSE.items()
        for match in re.finditer(pattern, text, re.IGNORECASE)
        if not is_allowed(path, match[0])
    ]
    assert not found, "\n".join(found)


def test_every_exception_is_needed():
    for file, text in ALLOWED:
        path = ROOT / file
        here = " ".join(line for _, line in prose(path)).lower()
        names = {word for _, name in identifiers(path) for word in words(name)}
        assert text in here or text in names, f"{file} no longer contains {text!r}"
