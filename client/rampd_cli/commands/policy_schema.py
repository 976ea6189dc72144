"""`rampd policy schema`."""

import click

from rampd_cli.command import command as make_command
from rampd_cli.policies.schema import schema_text
from rampd_cli.session import Session


@make_command("schema")
def command(_session: Session) -> None:
    """Writes the JSON Schema of a file with policies. An editor completes and checks with it.

    \b
      rampd policy schema > policy.schema.json

    Editors with a language server for YAML read this line at the top of a file:

    \b
      # yaml-language-server: $schema=policy.schema.json
    """
    click.echo(schema_text(), nl=False)
