"""A table that a person wrote becomes rollouts, by the rules of the state machine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampd._decision.resolution import RolloutState
from rampd_server.backup import table
from rampd_server.backup.lines import Content, InputError
from rampd_server.storage.codec.rebuild import check
from tests.rollouts import NOW

TABLE = b"""\
component,tag,percent
restyler,20200301,90
restyler,20200409,10
hlint,h-7,100
stylish,s-1,100.0
stylish,s-2,0 %
"""


def read(content: bytes) -> Content:
    return table.read(content, actor="ada", now_ms=NOW)


def refused(content: bytes) -> list[str]:
    with pytest.raises(InputError) as caught:
        read(content)
    return list(caught.value.sentences)


def test_one_row_is_current_and_two_rows_are_current_and_next():
    content = read(TABLE)

    found = [
        (each.component, each.current_release.tag, each.next_release and each.next_release.tag, each.basis_points)
        for each, _ in content.components
    ]
    assert found == [
        ("restyler", "20200301", "20200409", 1000),
        ("hlint", "h-7", None, 0),
        ("stylish", "s-1", "s-2", 0),
    ]
    for rollout, overrides in content.components:
        check(rollout)
        assert not overrides
        assert rollout.state in {RolloutState.STEADY, RolloutState.ROLLING_OUT}
        assert {release.actor for release in rollout.releases.values()} == {"ada"}


def test_lines_of_json_and_columns_in_another_order_say_the_same():
    json_lines = b"""\
{"component": "restyler", "tag": "20200301", "percent": 90}
{"component": "restyler", "tag": "20200409", "percent": 10.0}

{"component": "hlint", "tag": "h-7", "percent": "100"}
{"percent": 100, "tag": "s-1", "component": "stylish"}
{"component": "stylish", "tag": "s-2", "percent": 0}
"""
    by_tag = (
        b'\xef\xbb\xbftag, percent, component\r\n20200301,90,restyler\r\n"20200409", 10, restyler\r\nh-7,100,hlint\r\n'
    )
    assert read(json_lines).components == read(TABLE).components
    assert read(by_tag).components == read(TABLE).components[:2]


@given(st.integers(0, 10_000))
def test_two_shares_that_sum_to_the_whole_are_taken_exactly(basis_points: int):
    rows = f"component,tag,percent\na,t1,{(10_000 - basis_points) / 100}\na,t2,{basis_points / 100}\n"
    [(rollout, _)] = read(rows.encode()).components
    assert rollout.basis_points == basis_points


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("a,t1,90", "Line 2: a has 90 % in all, and not 100 %."),
        ("a,t1,90\na,t2,20", "Line 3: a has 110 % in all, and not 100 %."),
        ("a,t1,90\na,t1,10", "Line 3: a has t1 twice."),
        ("a,t1,80\na,t2,10\na,t3,10", "Line 4: a has more than two rows. Give current, and next if there is one."),
        ("a,t1", "Line 2: give component, tag, percent, and nothing else."),
        ("a,t1,100,x", "Line 2: give component, tag, percent, and nothing else."),
        ("a,t1,99.999", "Line 2: '99.999' is not a percentage from 0 to 100 with at most two decimals."),
        ("a,t1,nan", "Line 2: 'nan' is not a percentage from 0 to 100 with at most two decimals."),
        ("a,t1,1e99", "Line 2: '1e99' is not a percentage from 0 to 100 with at most two decimals."),
        ("a,t1,9e999999", "Line 2: '9e999999' is not a percentage from 0 to 100 with at most two decimals."),
        ("a,t1,1000", "Line 2: '1000' is not a percentage from 0 to 100 with at most two decimals."),
        ("a,t1,1_00", "Line 2: '1_00' is not a percentage from 0 to 100 with at most two decimals."),
        ("a,t1,", "Line 2: '' is not a percentage from 0 to 100 with at most two decimals."),
    ],
)
def test_a_mistake_is_named_with_its_line(rows: str, sentence: str):
    assert refused(f"component,tag,percent\n{rows}\n".encode()) == [
        sentence,
        "Nothing was written. docs/backup.md shows a table.",
    ]


def test_all_mistakes_are_named_at_once():
    rows = b"component,tag,percent\nUpper,t1,100\nok,,100\n" + b"a,t1,x\n" * 30
    found = refused(rows)
    assert found[0].startswith("Line 2: the component must be")
    assert found[1].startswith("Line 3: the tag ")
    assert found[20:] == ["There are 12 more mistakes.", "Nothing was written. docs/backup.md shows a table."]
    [mistake, _] = refused(b'{"component": "a", "tag": "t1", "percent": 100}\n{"component": \n')
    assert mistake.startswith("Line 2: is not JSON: ")


@pytest.mark.parametrize("tag", ["1.10", "1e3", "true"])
def test_a_tag_of_json_that_is_not_as_it_was_typed_is_refused(tag: str):
    assert refused(
        b'{"component": "a", "tag": "t1", "percent": 90}\n{"component": "a", "tag": %s, "percent": 10}' % tag.encode()
    )[0] == ('Line 2: write the component and the tag in quotation marks, such as "1.10".')


def test_a_line_that_is_no_csv_is_named():
    [sentence] = refused(b'component,tag,percent\na,t1,100\nb,"t1"x,100\nc,t1,100\n')
    assert "line 3 is not CSV: " in sentence


@pytest.mark.parametrize("content", [b"x" * 100_000, b"," * 100_000, b"component,tag,percent\na,t1," + b"9" * 100_000])
def test_a_sentence_is_short_whatever_the_input_is(content: bytes):
    assert max(map(len, refused(content))) < 300


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"name,tag,percentage\na,b,100\n", b"component,tag\na,b\n", b'component,tag,percent\n"a', b"\0"],
)
def test_what_is_no_table_is_refused(content: bytes):
    [sentence] = refused(content)
    assert sentence.startswith("The input is neither an export nor a table: ")
    assert "A table begins with the line component,tag,percent." in sentence


def test_a_table_without_a_row_is_refused():
    assert refused(b"component,tag,percent\n")[0] == "The table has no row."
