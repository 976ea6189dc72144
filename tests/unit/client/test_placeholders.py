"""The value of a placeholder is literal in every string of PromQL, and a query with an unknown placeholder is refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampd._contract.placeholders import NAMES, QueryError, fill, wrong

TAG = "@a.b+c=1#~(x)"


def filled(query: str, tag: str = TAG) -> str:
    return fill(query, component="restyler", tag=tag, channel="next")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('up{tag="{{tag}}"}', 'up{tag="@a.b+c=1#~(x)"}'),
        ("up{tag='{{ tag }}'}", "up{tag='@a.b+c=1#~(x)'}"),
        ("up{tag!=`{{tag}}`}", "up{tag!=`@a.b+c=1#~(x)`}"),
        ('up{pod="{{component}}-{{tag}}-{{channel}}"}', 'up{pod="restyler-@a.b+c=1#~(x)-next"}'),
        ('up{tag=~"{{tag}}"}', r'up{tag=~"@a\\.b\\+c=1#~\\(x\\)"}'),
        ("up{tag!~'{{tag}}|x.*'}", r"up{tag!~'@a\\.b\\+c=1#~\\(x\\)|x.*'}"),
        ("up{tag =~ # why\n `.+-{{tag}}`}", "up{tag =~ # why\n `.+-@a\\.b\\+c=1#~\\(x\\)`}"),
        ('up{tag=~"({{tag}})?[0-9]{3}"}', r'up{tag=~"(@a\\.b\\+c=1#~\\(x\\))?[0-9]{3}"}'),
        ('{"my.metric", "my.label"=~"{{tag}}"}', r'{"my.metric", "my.label"=~"@a\\.b\\+c=1#~\\(x\\)"}'),
        ('up{a="}} {tag}"} or vector(0)', None),
        ('up{a="{tag}", b="{"}', 'up{a="{tag}", b="{"}'),
        ("up{a='#', b=\"'{{tag}}\\\"\"} # '", "up{a='#', b=\"'@a.b+c=1#~(x)\\\"\"} # '"),
        ('up{a="\\\\{{tag}}"}', 'up{a="\\\\@a.b+c=1#~(x)"}'),
        ("up", "up"),
    ],
)
def test_a_value_is_literal_at_any_place_of_an_expression(query: str, expected: str | None):
    if expected is None:
        assert wrong(query)
    else:
        assert filled(query) == expected


@pytest.mark.parametrize("follows", ["*", "+", "?", "{2}"])
def test_a_quantifier_after_a_placeholder_repeats_the_whole_value(follows: str):
    assert filled(f'up{{tag=~"{{{{tag}}}}{follows}"}}', "1.2") == rf'up{{tag=~"(?:1\\.2){follows}"}}'
    assert filled(f'up{{tag="{{{{tag}}}}{follows}"}}', "1.2") == f'up{{tag="1.2{follows}"}}'


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            'label_replace(sum by (a, b) (up{a="{{tag}}", b="x"}), "dst", "{{tag}}", "src", "{{tag}}(.*)")',
            r'label_replace(sum by (a, b) (up{a="1.2$", b="x"}), "dst", "1.2$$", "src", "1\\.2\\$(.*)")',
        ),
        (
            "label_replace (up, 'dst', (('${1}{{tag}}')), 'src', ((`{{tag}}`)))",
            r"label_replace (up, 'dst', (('${1}1.2$$')), 'src', ((`1\.2\$`)))",
        ),
        ('label_join(up, "dst", "{{tag}}", "src", "{{tag}}")', 'label_join(up, "dst", "1.2$", "src", "1.2$")'),
        ('count_values("{{tag}}", up)', 'count_values("1.2$", up)'),
    ],
)
def test_the_arguments_of_label_replace_are_escaped_as_expression_and_as_replacement(query: str, expected: str):
    assert filled(query, "1.2$") == expected


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("up{tag={{tag}}}", 'has {{tag}} at character 8, outside of a string: put it in quotes, such as tag="{{tag}}"'),
        ("{{ component }}", "has {{ component }} at character 1, outside of a string"),
        ("rate(x[{{tag}}])", "has {{tag}} at character 8, outside of a string"),
        ("up{a={{commit}}}", "has {{commit}} at character 6, which is none of {{component}}, {{tag}}, {{channel}}"),
        ('up{a="-{{commit}}"}', "has {{commit}} at character 8, which is none of {{component}}, {{tag}}, {{channel}}"),
        ('up{a="{{}}"}', "has {{}} at character 7, which is none of"),
        ('up{a="{{ta g}}"}', "has {{ta g}} at character 7, which is none of"),
        ('up{a="{{Tag}}"}', "has {{Tag}} at character 7, which is none of"),
        ('up{a="{{.tag}}"}', "has {{.tag}} at character 7, which is none of"),
        ("up{a=`{{tag\n}}`}", "has {{tag }} at character 7, which is none of"),
        ('up{a="{{tag}"}', "has {{ at character 7, which belongs to no placeholder"),
        ('up{a="{tag}}"}', "has }} at character 11, which belongs to no placeholder"),
        ('up{a="{{{tag}}}"}', "has {{ at character 7, which belongs to no placeholder"),
        ('up{a="{{ {{tag}} }}"}', "has {{ at character 7, which belongs to no placeholder"),
        ('up{a="\\{{tag}}"}', "has \\{ at character 7, which is no escape in a string: write \\\\{ for a backslash and {"),
        ('up{a="\\{{tag\\}}"}', "has \\{ at character 7, which is no escape in a string"),
        ("up # {{tag}}", "has {{tag}} at character 6, in a comment, where nothing is filled: leave it out"),
        ("up # }}", "has }} at character 6, in a comment"),
        ("up{a=~`[]{{tag}}]`}", "has {{tag}} at character 10, in [ ], in \\Q or after a backslash of a regular expression"),
        ("up{a=~`[[:alpha:]{{tag}}`}", "has {{tag}} at character 18, in [ ], in \\Q or after a backslash"),
        ('up{a=~"[{{tag}}]"}', "has {{tag}} at character 9, in [ ], in \\Q or after a backslash of a regular expression"),
        ("up{a=~`\\{{tag}}`}", "has {{tag}} at character 9, in [ ], in \\Q or after a backslash"),
        ("up{a=~`\\Qa{{tag}}`}", "has {{tag}} at character 11, in [ ], in \\Q or after a backslash"),
        ('label_replace(up, "a", "$1{{tag}}", "b", "(.*)")', "has {{tag}} at character 27, after a $, which its value"),
        ('up{a="x', 'has a string that begins at character 6 and does not end: " is missing'),
        ('up{a="x\n"}', "has a string that begins at character 6 and does not end"),
        ("up{a=`x", "has a string that begins at character 6 and does not end: ` is missing"),
        ("sum(up", "has ( at character 4, which is not closed"),
        ("sum(up]", "has ] at character 7, which closes nothing"),
        ("up)", "has ) at character 3, which closes nothing"),
        (" # nothing", "is empty: a query in PromQL is needed"),
        ("(up[5m])", "gives no single value"),
        ("'up'", "gives no single value"),
    ],
)  # fmt: skip
def test_an_unfillable_placeholder_is_refused_with_its_place_and_the_reason(query: str, said: str):
    assert wrong(query).startswith(said)
    with pytest.raises(QueryError, match=re.escape(said)):
        filled(query)


@pytest.mark.parametrize(
    "query",
    [
        r'up{a=~"[a]{{tag}}[^]b[:alpha:]]"}',
        r"up{a=~`\\{{tag}}\.`}",
        r"up{a=~`[]]{{tag}}[^]]{{tag}}[[]{{tag}}[\]]{{tag}}`}",
        r"up{a=~`\Qa.b\E{{tag}}`}",
        r'label_replace(up, "a", "${1}{{tag}}$2", "b", "(.*)")',
        r'label_replace(up, "a", "$${{component}}", "b", "(.*)")',
        "(((a))) * ((rate(x[5m])))",
        r"up{path=`C:\dir\{a}`}",
        'quantile_over_time(0.9, x{a="b"}[5m:1m] offset -1w) @ 1.5e3',
        "up offset inf",
        "not promql at all $",
    ],
)
def test_errors_that_only_prometheus_can_find_are_left_to_prometheus(query: str):
    assert wrong(query) == ""


def test_a_sentence_is_short_and_on_one_line():
    assert len(wrong('up{a="{{' + "\n\x07" * 2_000 + '}}"}')) < 150


def test_a_value_with_a_backquote_is_written_in_double_quotes():
    """Given a value that the grammar of tags does not allow, expect that the same text is written in double quotes."""
    assert filled(r'up{a=`\d"{{tag}}`}', "a`b\\") == r'up{a="\\d\"a`b\\"}'


# For the scan, any other character is the same as a letter.
QUERIES = st.text(st.sampled_from("{}[]()\"'`\\#=~!,$x \n"), max_size=12)
PLACEHOLDERS = st.sampled_from([f"{{{{{name}}}}}" for name in (*NAMES, " tag ", "x", "")])
MIXED = st.lists(QUERIES | PLACEHOLDERS | st.sampled_from(["label_replace(", 'up{a="', "=~'", "=`"]), max_size=8).map(
    "".join
)
TAGS = st.from_regex(r"[A-Za-z0-9_@][A-Za-z0-9._/:@+=#~()-]{0,20}", fullmatch=True)


@given(MIXED, TAGS)
def test_a_valid_query_is_filled_and_an_invalid_one_is_refused(query: str, tag: str):
    if wrong(query):
        with pytest.raises(QueryError):
            filled(query, tag)
        return
    text = filled(query, tag)
    assert "{{" not in text
    assert "}}" not in text
    # Only strings have changed, so the scan reads the same query again.
    assert wrong(text) == ""


def string_of(text: str) -> str:
    """Returns the value of a PromQL string in quotes or backquotes. It does not use the code that writes the string."""
    body = text[1:-1]
    if text[0] == "`":
        return body
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], body)


BESIDE = st.text(st.characters(codec="ascii", categories=("L", "N"), include_characters="-.: "), max_size=5)
ANY = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=20)


@given(st.sampled_from("\"'`"), BESIDE, BESIDE, ANY | TAGS)
def test_no_value_gets_out_of_its_string(quote: str, before: str, after: str, value: str):
    [inside] = re.findall(
        r"^up\{a=(.*)\}$", filled(f"up{{a={quote}{before}{{{{tag}}}}{after}{quote}}}", value), re.DOTALL
    )

    assert string_of(inside) == f"{before}{value}{after}"
    assert not re.search(r'(?<!\\)(?:\\\\)*"', inside[1:-1]) or inside[0] != '"'


@given(st.sampled_from("\"'`"), BESIDE, ANY | TAGS)
def test_an_expression_with_a_value_finds_that_value_and_no_other(quote: str, before: str, value: str):
    [inside] = re.findall(r"^up\{a=~(.*)\}$", filled(f"up{{a=~{quote}x{{{{tag}}}}{quote}}}", value), re.DOTALL)
    expression = re.compile(string_of(inside), re.DOTALL)

    assert expression.fullmatch(f"x{value}")
    assert not expression.fullmatch(f"x{before}{value}") or not before
