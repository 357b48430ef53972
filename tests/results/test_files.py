"""Files of a run that are damaged, odd, or lead out of the folder."""

import os
import socket

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradlab.cli.main import main
from gradlab.errors import StoreError
from gradlab.recording.rows import LAYERS
from gradlab.results.files import read_json
from gradlab.results.load import find, load
from gradlab.results.parquet import encode, is_intact
from tests.report.runs import write_run


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"", "Expecting value"),
        (b'{"a": 1', "Expecting"),
        (b'\xef\xbb\xbf{"a": 1}', "BOM"),
        (b'{"a": "\xff"}', "decode"),
        (b'{"a": NaN}', "finite"),
        (b'{"a": 1e999}', "finite"),
        (b'{"a": ' + b"9" * 400 + b"}", "finite"),
        (b'{"a": 1, "a": 2}', "'a' occurs twice"),
    ],
    ids=range(10),
)
def test_odd_json_is_one_line_that_names_the_file(tmp_path, content, problem):
    file = tmp_path / "run.json"
    file.write_bytes(content)
    with pytest.raises(StoreError, match=problem) as error:
        read_json(file)
    assert str(error.value).startswith(f"{file} is damaged")
    assert "\n" not in str(error.value)


def test_numbers_of_json_are_exact_within_64_bits(tmp_path):
    file = tmp_path / "run.json"
    file.write_text("[9223372036854775807, 9223372036854775808, -1, 1.5]")
    assert read_json(file) == [2**63 - 1, float(2**63), -1, 1.5]


def as_link(path, outside):
    path.symlink_to(outside)


def as_pipe(path, outside):
    os.mkfifo(path)


def as_folder(path, outside):
    path.mkdir()


def as_socket(path, outside):
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket has at most 107 characters
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.parametrize("make", [as_link, as_pipe, as_folder, as_socket])
@pytest.mark.parametrize("name", ["run.json", "layers.parquet", "steps.parquet"])
def test_a_file_of_another_kind_is_named_and_the_other_runs_are_read(tmp_path, name, make):
    write_run(tmp_path / "outside")
    write_run(tmp_path / "runs" / "good")
    write_run(tmp_path / "runs" / "odd")
    odd = tmp_path / "runs" / "odd" / name
    odd.unlink()
    make(odd, tmp_path / "outside" / name)
    found = find(tmp_path / "runs")
    assert [run.name for run in found.runs] == ["good"]
    (line,) = found.damaged
    assert line.startswith(str(odd))


def test_a_link_to_a_folder_is_not_followed(tmp_path):
    write_run(tmp_path / "outside")
    write_run(tmp_path / "runs" / "good")
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "runs" / "circle").symlink_to(tmp_path / "runs")
    assert [run.name for run in find(tmp_path / "runs").runs] == ["good"]


def test_control_characters_do_not_reach_the_frames(tmp_path):
    write_run(tmp_path / "a\x1b[31m\nb", **{"model.activation": "x\x1b]0;title\x07"})
    frames = load(tmp_path)
    assert frames.runs["run"].tolist() == ["a\\x1b[31m\\nb"]
    assert frames.runs["model.activation"].tolist() == ["x\\x1b]0;title\\x07"]
    assert "\x1b" not in str(frames)


def rows(count):
    values = np.random.default_rng(0).standard_normal(count)
    columns = {f.name: values for f in LAYERS if str(f.type) == "double"}
    keys = {"step": range(count), "axis": ["depth"] * count, "position": [1] * count}
    return pa.table({**keys, "module": ["m"] * count, **columns}).cast(LAYERS)


def test_other_programs_read_a_file_with_a_checksum():
    table = rows(50)
    assert pq.read_table(pa.BufferReader(encode(table)), page_checksum_verification=True) == table
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    assert is_intact(sink.getvalue().to_pybytes())  # by another program, without a checksum


def test_a_flip_of_any_bit_is_detected_or_has_no_effect():
    content = encode(rows(20))
    mark = content.index(b"gradlab\0")
    footer = mark + 12
    for position in [*range(0, mark, 97), *range(mark, footer), *range(footer, len(content), 53)]:
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        if mark <= position < mark + 8 or position >= len(content) - 8:
            continue  # the mark and the tail, which the next test covers
        assert not is_intact(bytes(changed)), position


def test_a_flip_in_the_mark_or_in_the_tail_never_gives_other_numbers():
    table = rows(20)
    content = encode(table)
    mark, end = content.index(b"gradlab\0"), len(content)
    for position in [*range(mark, mark + 8), *range(end - 8, end)]:
        for bit in range(8):
            changed = bytearray(content)
            changed[position] ^= 1 << bit
            if is_intact(bytes(changed)):
                try:
                    read = pq.read_table(pa.BufferReader(bytes(changed)))
                except (OSError, ValueError, pa.ArrowException):
                    continue
                assert read == table


def test_the_report_of_runs_with_odd_data_and_values_is_written(tmp_path):
    sizes = {"inputs": 4, "outputs": 2, "input_rms": None}  # the data has a NaN
    shape = {"model.depth": 2, "model.width": 8, "train.batch_size": 8}
    for number, value in enumerate((r"$\\frac{$", "<b>&\"'", "Ω" * 90)):
        write_run(tmp_path / str(number), data=sizes, **shape, **{"model.activation": value})
    assert main(["report", str(tmp_path)]) == 0
    page = (tmp_path / "report" / "index.html").read_text()
    assert "<b>&" not in page
    assert "frac{" in page


def test_a_folder_with_foreign_files_or_links_is_not_replaced(tmp_path, capsys):
    write_run(tmp_path / "runs" / "a")
    assert main(["report", str(tmp_path / "runs")]) == 0
    assert main(["report", str(tmp_path / "runs")]) == 0
    report = tmp_path / "runs" / "report"
    before = (report / "index.html").read_bytes()
    (report / "notes.html").write_text("mine")
    assert main(["report", str(tmp_path / "runs")]) == 2
    assert "notes.html was not written by gradlab" in capsys.readouterr().err
    (report / "notes.html").unlink()
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (report / "tables" / "runs.csv").unlink()
    (report / "tables" / "runs.csv").symlink_to(precious)
    assert main(["report", str(tmp_path / "runs")]) == 2
    assert precious.read_text() == "mine"
    assert (report / "index.html").read_bytes() == before
    assert not list((tmp_path / "runs").glob(".report*"))


def test_a_seed_of_torch_is_a_whole_number(tmp_path):
    path = tmp_path / "run.json"
    path.write_text(f'{{"seed": {2**64 - 1}}}')
    assert read_json(path) == {"seed": 2**64 - 1}
