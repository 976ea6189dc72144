"""`rampd --version`."""

import click


def print_version(context: click.Context, _parameter: click.Parameter, is_asked: bool) -> None:
    """Prints the version, and ends."""
    if is_asked and not context.resilient_parsing:
        from importlib import metadata  # noqa: PLC0415 - it is slow to import

        click.echo(f"rampd {metadata.version('rampd')}")
        context.exit()
