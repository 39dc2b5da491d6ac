"""CSV and ARFF files as releases have them, and what is wrong with some."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import arff

from mien_common.errors import InputError
from mien_lab.corpora import table
from mien_lab.corpora.arff import parse_arff
from mien_lab.corpora.delimited import parse_delimited
from mien_lab.corpora.table import read_table


def read(tmp_path: Path, content: str | bytes, name: str = "P16.csv") -> table.Table:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path)


HALF = [[0.0, 0.5], [0.04, np.nan]]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("time;FM1 \n0;0.5\n0.04;\n", id="blanks after a name"),
        pytest.param("time,FM1\n0,0.5\n0.04,NaN\n", id="commas"),
        pytest.param("time\tFM1\n0\t0.5\n0.04\tnan\n", id="tabs"),
        pytest.param("time;FM1\r\n0;0.5\r\n0.04;\r\n", id="CRLF"),
        pytest.param("time;FM1\r0;0.5\r0.04;NA\r", id="CR"),
        pytest.param("\ufefftime;FM1\n0;0.5\n0.04;?\n", id="byte-order mark"),
        pytest.param('"time";"FM1"\n"0";"0.5"\n"0.04";""\n', id="quotes"),
        pytest.param("time; FM1\n 0; 0.5 \n 0.04;  \n", id="blanks around numbers"),
        pytest.param("time;FM1\n0;+0.5\n4e-2;\n", id="signs and exponents"),
        pytest.param("time;FM1;\n0;0.5;\n0.04;;\n", id="a separator at the end"),
        pytest.param("\n\ntime;FM1\n\n0;0.5\n0.04;\n\n\n", id="empty lines"),
        pytest.param("time;FM1\n0;0.5\n0.04;", id="no end of line"),
    ],
)
def test_csv_is_read_however_it_was_written(tmp_path: Path, content: str) -> None:
    found = read(tmp_path, content)
    assert found.columns == ("time", "FM1")
    np.testing.assert_array_equal(found.values, HALF)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("time;FM1\n0;0.5\n0,04;0.5\n", "line 3, column time: 0,04 has a decimal comma"),
        ("time,FM1\n0,04,0,5\n", "line 2: 4 cells where the header has 2. Decimal commas?"),
        ("time;FM1\n0;0.5\n0.04;x\n", "line 3, column FM1: 'x' is not a number"),
        ("time;FM1\n0;0.5\n\n0.04\n", "line 4: 1 cells where the header has 2"),
        ("time;FM1\n0;inf\n", "row 1, column FM1: an infinite number"),
        ("time;FM1\n0;0.5\n0.04;-1e39\n", "row 2, column FM1: an infinite number, or one too large"),
        ("time;FM1;FM1 \n0;1;1\n", "has the column FM1 more than once"),
        ("0;0.5\n0.04;0.5\n", "line 1: numbers where the names of the columns should be"),
        ("time;FM1\n", "holds no rows"),
        ("", "is empty"),
        ("\n \n", "is empty"),
        (b"t\0i\0m\0e\0", "is not a text file"),
        ("täglich;b\n".encode("latin-1"), "is not in UTF-8"),
    ],
)
def test_a_csv_file_that_will_not_do_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, content)
    assert message in str(error.value)
    assert "P16.csv" in str(error.value)


def test_files_that_are_none_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"gone\.csv is not there"):
        read_table(tmp_path / "gone.csv")
    with pytest.raises(InputError, match="is not a file"):
        read_table(tmp_path)
    monkeypatch.setattr(table, "LARGEST_BYTES", 10)
    with pytest.raises(InputError, match="is larger than"):
        read(tmp_path, "time;FM1\n0;0.5\n")


HEAD = "% made up\n@RELATION 'gold standard'\n\n@ATTRIBUTE Instance_name string\n"
HEAD += "@attribute frameTime numeric\n@attribute 'Gold Standard' REAL\n\n\n@DATA\n"


@pytest.mark.parametrize(
    "rows",
    [
        "dev_1,0,0.5\ndev_1,0.04,?\n",
        "'dev_1',0,0.5\n'dev_1',0.04,?\n",
        '"dev_1",0,0.5\n"dev_1",0.04,?\n',
        "dev_1\t0\t0.5\ndev_1\t0.04\t?\n",
        "\n% a comment\ndev_1, 0, 0.5\r\n%another\r\ndev_1, 0.04, ?\r\n",
    ],
)
def test_arff_is_read_however_it_was_written(tmp_path: Path, rows: str) -> None:
    found = read(tmp_path, HEAD + rows, "dev_1.arff")
    assert found.columns == ("frameTime", "Gold Standard")
    np.testing.assert_array_equal(found.values, HALF)
    assert found.words == {"Instance_name": ("dev_1",)}


def test_arff_of_numbers_and_nominals_is_read_as_scipy_reads_it(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(50, 3))
    lines = ["@relation r", *(f"@attribute a{k} numeric" for k in range(3)), "@attribute c {yes,no}", "@data"]
    lines += [",".join(map(repr, row)) + ",yes" for row in values.tolist()]
    text = "\n".join(lines)
    by_scipy, _ = arff.loadarff(io.StringIO(text))
    found = read(tmp_path, text, "x.arff")
    np.testing.assert_array_equal(found.values, np.stack([by_scipy[f"a{k}"] for k in range(3)], axis=1))
    assert found.words == {"c": ("yes",)}


def test_scipy_does_not_read_what_avec_releases() -> None:
    """The reason for a reader of our own; when this fails, it can go."""
    with pytest.raises(NotImplementedError):
        arff.loadarff(io.StringIO(HEAD + "dev_1,0,0.5\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEAD + "{0 dev_1, 1 0.5}\n", "has sparse rows"),
        (HEAD + "dev_1,0,x\n", "line 10, column Gold Standard: 'x' is not a number"),
        (HEAD + "dev_1,0\n", "line 10: 2 cells where the header has 3"),
        (HEAD.replace("@DATA", ""), "has no line @data"),
        ("@relation r\n@data\n1,2\n", "has no @attribute"),
        ("@relation r\n@attribute a\n@data\n1\n", "line 2: '@attribute a' is no attribute"),
        ("@relation r\n@attribute a relational\n@data\n1\n", "a relational attribute"),
        ("@relation r\n@attribute a complex\n@data\n1\n", "attribute a has the unknown type 'complex'"),
        (HEAD, "holds no rows"),
    ],
)
def test_an_arff_file_that_will_not_do_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, content, "dev_1.arff")
    assert message in str(error.value)
    assert "dev_1.arff" in str(error.value)


@given(st.binary(max_size=60), st.sampled_from(["csv", "arff"]))
def test_any_bytes_are_a_table_or_one_clear_error(rows: bytes, kind: str) -> None:
    path = Path(f"x.{kind}")
    try:
        parse = parse_arff if kind == "arff" else parse_delimited
        found = parse(path, (HEAD.encode() if kind == "arff" else b"time;FM1\n") + rows)
    except InputError:
        return
    assert found.values.shape == (len(found.values), len(found.columns))
    assert not np.isinf(found.values).any()
