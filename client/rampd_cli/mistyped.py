"""What a person may have meant by an option that a command does not have: `-fo` for `-o`, `-note` for `--note`."""

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Final

import click

from rampd_cli.session import OUTPUTS

_BELOW_0: Final = re.compile(r"-[\d.]+%?", re.ASCII)


def with_advice(error: click.UsageError, ctx: click.Context, words: Sequence[str]) -> click.UsageError:
    """Returns the error of a line that could not be read, with what to type instead, if that is known. `words` is the line."""
    params = ctx.command.get_params(ctx)
    known = [name for param in params if isinstance(param, click.Option) for name in param.opts]
    if isinstance(error, click.NoSuchOption) and not error.option_name.startswith("--"):
        name = error.option_name
        word = next((each for each in _clusters(words) if name[1] in each), name)
        if _BELOW_0.fullmatch(word):
            wanted = f"No number here is below 0. Write the number that is to be in force, such as {word[1:]}."
            return click.NoSuchOption(name, f"No such option {word!r}. {wanted}", ctx=error.ctx)
        place = "" if word == name else f" in {word!r}"
        return click.NoSuchOption(name, f"No such option {name!r}{place}.{_instead(word, name, known)}", ctx=error.ctx)
    if isinstance(error, click.BadParameter) and error.param is not None:
        for word in _clusters(words):
            if f"-{word}" in known and word[:2] in error.param.opts:
                error.message += f" Did you mean '-{word}'?"  # type: ignore[misc]  # click calls it final
    return error


def _clusters(words: Sequence[str]) -> Iterator[str]:
    """Yields each word that is read as several options of one letter, or as one with its value. What comes after a `=` is not in it."""
    for word in words:
        if word == "--":
            return
        if word.startswith("-") and not word.startswith("--") and len(name := word.partition("=")[0]) > 2:
            yield name


def _instead(word: str, name: str, known: Sequence[str]) -> str:
    letters = word[1:].replace(name[1], "")
    if f"-{word}" in known:
        meant = [f"-{word}"]
    elif word[1:] in OUTPUTS:
        meant = [f"-o {word[1:]}"]
    elif letters and all(f"-{letter}" in known for letter in letters):
        meant = [f"-{letters}"]
    else:
        first = [each for each in known if each.startswith(f"-{name}")]
        meant = get_close_matches(f"-{word}", known, n=1) or first
    return f" Did you mean {' or '.join(map(repr, meant))}?" if meant else ""
