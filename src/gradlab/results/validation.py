"""What is wrong with the content of a run's files, in one line: what was expected, what is there.

Whoever reads a run relies on these types, so content that lacks them counts as damage.
"""

from typing import Any

import pyarrow as pa

from gradlab import schema
from gradlab.results.parquet import arrow_schema

FINDING: dict[str, type] = {
    "kind": str,
    "where": list,
    "since": int,
    "severity": str,
    "cause": str,
    "evidence": dict,
    "remedies": list,
}
"""The keys of a finding in `run.json`, those of `diagnose.finding.Finding`, and their types."""
OPTIONAL: dict[str, type] = {
    "test": dict,
    "first_nonfinite": dict,
    "error": str,
    "seed": int,
    "data": dict,
}
NONFINITE: dict[str, type] = {"where": str, "step": int}  # what a report tells of it


def in_info(info: Any) -> str | None:
    """Return what is wrong with the content of a `run.json`, or None."""
    if not isinstance(info, dict) or info.get("schema") != schema.VERSION:
        return f"expected a run.json of schema {schema.VERSION}"
    if not isinstance(info.get("config"), dict):
        return f"expected a configuration as config, but it is {info.get('config')!r:.40}"
    if info.get("status") not in schema.STATUSES:
        return _choice("status", schema.STATUSES, info.get("status"))
    if info.get("verdict") not in (None, *schema.VERDICTS):
        return _choice("verdict", schema.VERDICTS, info.get("verdict"))
    for key, kind in OPTIONAL.items():
        if info.get(key) is not None and not isinstance(info[key], kind):
            return f"expected {key} to be of type {kind.__name__}, but it is {info[key]!r:.40}"
    where = info.get("first_nonfinite")
    wrong = _typed("first_nonfinite", where, NONFINITE) if where else None
    return wrong or _findings(info.get("findings"))


def in_schema(present: pa.Schema, columns: tuple[schema.Column, ...]) -> str | None:
    """Return which of `columns` a Parquet file lacks or has with another type, or None."""
    for field in arrow_schema(columns):
        index = present.get_field_index(field.name)
        if index < 0:
            return f"it has no column {field.name}"
        given = present.field(index).type
        if given != field.type:
            return f"expected {field.name} to be of type {field.type}, but it is {given}"
    return None


def _findings(findings: Any) -> str | None:
    if not isinstance(findings, list):
        return f"expected a list of findings, but it is {findings!r:.40}"
    for finding in findings:
        wrong = _typed("a finding", finding, FINDING)
        if wrong:
            return wrong
        if finding["kind"] not in schema.KINDS:
            return _choice("the kind of a finding", schema.KINDS, finding["kind"])
    return None


def _typed(name: str, content: Any, types: dict[str, type]) -> str | None:
    if not isinstance(content, dict):
        return f"expected {name} to be of type dict, but it is {content!r:.40}"
    for key, kind in types.items():
        if not isinstance(content.get(key), kind):
            given = f"{content[key]!r:.40}" if key in content else "missing"
            return f"expected {key} of {name} to be of type {kind.__name__}, but it is {given}"
    return None


def _choice(name: str, valid: tuple[str, ...], given: Any) -> str:
    return f"expected {name} to be one of {', '.join(valid)}, but it is {given!r:.40}"
