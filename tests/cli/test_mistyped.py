"""A line that rampd can't read: what is said about it, and in which form."""

import json

import pytest

from tests.cli.conftest import Run


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("status -fo plain", "No such option '-f' in '-fo'. Did you mean '-o'?"),
        ("-fo plain status", "No such option '-f' in '-fo'. Did you mean '-o'?"),
        ("queue -fo plain list", "No such option '-f' in '-fo'. Did you mean '-o'?"),
        ("status -output plain", "'utput' is not one of 'table', 'plain', 'json', 'yaml'. Did you mean '--output'?"),
        (
            "status -output=plain",
            "'utput=plain' is not one of 'table', 'plain', 'json', 'yaml'. Did you mean '--output'?",
        ),
        ("status -json", "No such option '-j' in '-json'. Did you mean '-o json'?"),
        ("status -utc", "No such option '-u' in '-utc'. Did you mean '--utc'?"),
        ("status -help", " in '-help'. Did you mean '--help'?"),
        ("pause c -note why", "No such option '-n' in '-note'. Did you mean '--note'?"),
        ("pause c -note=why", "No such option '-n' in '-note'. Did you mean '--note'?"),
        ("pause c -yes", "No such option '-e' in '-yes'. Did you mean '--yes'?"),
        ("pause c -dryrun", "No such option '-d' in '-dryrun'. Did you mean '--dry-run'?"),
        ("pause c -n why", "No such option '-n'. Did you mean '--note'?"),
        ("pause c -x", "No such option '-x'."),
        (
            "ramp c -5",
            "No such option '-5'. No number here is below 0. Write the number that is to be in force, such as 5.",
        ),
        ("ramp c -0.5%", "in force, such as 0.5%."),
        ("pause c --dryrun", "No such option '--dryrun'. Did you mean '--dry-run'?"),
        ("history -fo", "Option '-o' requires an argument."),
        ("status -o jsn", "'jsn' is not one of 'table', 'plain', 'json', 'yaml'."),
    ],
)
def test_a_wrong_option_is_told_with_what_to_type(run: Run, line: str, says: str) -> None:
    ran = run(*line.split())

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.rstrip("\n").endswith(says)
    assert ran.err.startswith("Usage: rampd ")


@pytest.mark.parametrize(
    "line",
    [
        "status --bad -o json",
        "-o json status --bad",
        "status --bad --output=json",
        "status --bad -ojson",
        "status -fo json",
        "status -fojson",
        "history -fo json --bad",
        "-o plain status -o json --bad",
        "statsu -o json",
        "-o json",
    ],
)
def test_the_error_of_a_line_that_can_not_be_read_is_in_the_form_that_it_asks_for(run: Run, line: str) -> None:
    ran = run(*line.split())

    assert (ran.code, json.loads(ran.err)["reason"]) == (2, "USAGE")


@pytest.mark.parametrize("line", ["status --bad", "status --profile a --bad", "status --profile=a --bad"])
def test_the_output_of_a_profile_is_that_of_a_line_that_can_not_be_read_too(run: Run, line: str) -> None:
    run("config", "set", "output", "json", "--profile", "a")

    assert json.loads(run(*line.split()).err)["reason"] == "USAGE"
    assert run(*line.split(), "-o", "plain").err.startswith("Usage: ")


def test_what_comes_after_two_dashes_is_no_option(run: Run) -> None:
    assert run("ramp", "c", "ten", "--", "-o", "json").err.startswith("Usage: ")
