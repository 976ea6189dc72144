"""`rampd config path`."""

from rampd_cli.command import command as make_command
from rampd_cli.profiles import config_path
from rampd_cli.session import Session
from rampd_cli.shown import Shown


@make_command("path", columns=("path",))
def command(session: Session) -> None:
    """Shows where the configuration file is, or where it will be.

    \b
      cat "$(rampd config path)"
    """
    path = str(config_path())
    session.show(Shown({"path": path}, [(path,)], lambda console: console.print(path, soft_wrap=True)))
