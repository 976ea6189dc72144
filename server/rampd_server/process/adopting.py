"""The command with which an operator tells the servers of a store to go on with the data that the store has now."""

import shlex
import sys
from pathlib import Path

from rampd_server.process.config import Command, Config
from rampd_server.process.embedded import is_embedded
from rampd_server.process.redis_url import RedisUrl

_PROGRAM = "rampd-server"


def adopt_command(config: Config, redis_url: str) -> str:
    """Returns the adopt command for a server's store, with the program as it was started. A password is shown as `***`."""
    is_own = is_embedded(redis_url, config.data_dir)
    store = ("--data-dir", config.data_dir) if is_own else ("--redis-url", RedisUrl(redis_url))
    namespace = () if config.namespace == "default" else ("--namespace", config.namespace)
    return shlex.join(map(str, (*_program(), Command.ADOPT, *store, *namespace)))


def followers(servers: int | None) -> str:
    """Says how many servers follow a store after its epoch has changed. None: the number is not known."""
    if servers is None:
        return (
            "The number of servers that follow it is not known, because Redis denies CLIENT LIST to this user. Servers that "
            "run now take it over within seconds."
        )
    if not servers:
        return "No server is connected to it now. The next server that starts goes on with it."
    many = "1 server follows it and takes it" if servers == 1 else f"{servers} servers follow it and take it"
    return f"{many} over within seconds."


def _program() -> tuple[str, ...]:
    """How rampd-server is started on this machine. A process of another program may have a server in it, too."""
    started = Path(sys.argv[0])
    if started.name == "__main__.py" and started.parent == Path(__file__).parents[1]:
        return sys.executable, "-m", "rampd_server"
    if started.name == _PROGRAM and len(started.parts) > 1:
        return (str(started.absolute()),)
    return (_PROGRAM,)
