"""The check of who the caller is for the server."""

from datetime import UTC, datetime
from typing import Final

from rampd_cli.diagnosis.connection import SOON, days
from rampd_cli.diagnosis.facts import Facts
from rampd_cli.diagnosis.finding import Finding, ok, problem, warning

_CREDENTIALS: Final = "credentials"
_MAY: Final = {
    "launcher": "resolves and reports outcomes",
    "viewer": "reads and changes nothing",
    "ci": "reads and hands in releases",
    "operator": "reads and changes rollouts",
    "admin": "does everything",
}
_ASK_FOR_ONE: Final = (
    "Ask the server's admin for a token (rampd-server token create NAME --role operator --access-file FILE), save it in a file "
    "that only you can read, then type: export RAMPD_TOKEN_FILE=FILE"
)


def credentials(facts: Facts) -> Finding | None:
    """Who the caller is for the server, and until when. None: the server was not asked."""
    if facts.wrong is not None:
        return _refused_here(facts)
    if (error := facts.caller_error) is not None:
        return _refused(facts, error.reason, error.message) if facts.is_reached else None
    if (caller := facts.caller) is None:
        return None
    what = _MAY.get(caller.role, "may do what its grant says")
    proof = "nothing proves it" if caller.proof == "none" else f"proven by the {caller.proof}"
    where = "" if "*" in caller.components else f", for {', '.join(caller.components)}"
    text = f"You are {caller.identity} with the role {caller.role}, which {what}{where}; {proof}."
    if caller.role == "launcher":
        return warning(
            _CREDENTIALS, f"{text} It can't look at rollouts.", f"For rampd you need another role. {_ASK_FOR_ONE}"
        )
    if not caller.HasField("expire_time"):
        return ok(_CREDENTIALS, text)
    end = datetime.fromtimestamp(caller.expire_time.seconds, UTC)
    # The tokens of builds, and many certificates, live for hours only, and something renews them.
    if caller.proof == "token" and end - facts.now < SOON:
        left = f"It ends in {days(end - facts.now)}, on {end:%Y-%m-%d %H:%M} UTC."
        return warning(_CREDENTIALS, f"{text} {left}", _ASK_FOR_ONE)
    return ok(_CREDENTIALS, f"{text} It ends on {end:%Y-%m-%d %H:%M} UTC.")


def _refused_here(facts: Facts) -> Finding | None:
    """What the client refuses before it sends anything, as far as it is about credentials."""
    assert facts.wrong is not None  # noqa: S101 - the caller has looked
    fields = {field for field, _ in getattr(facts.wrong, "violations", ())}
    if fields and not fields & {"credentials", "token", "RAMPD_CERT_FILE"}:
        return None
    said = "; ".join(text for _, text in getattr(facts.wrong, "violations", ())) or facts.wrong.message
    text = f"The credential of {facts.proof or 'this command'} can't be used: {said}."
    if not facts.address.is_tls and not facts.address.is_local and "credentials" in fields:
        secure = facts.command("doctor", server=f"https://{facts.address.place}")
        return problem(_CREDENTIALS, text, f"Write https://: {secure}")
    return problem(_CREDENTIALS, text, f"Correct {facts.proof}." if facts.proof else _ASK_FOR_ONE)


def _refused(facts: Facts, reason: str, message: str) -> Finding:
    if reason == "NO_CREDENTIALS":
        return problem(_CREDENTIALS, "The server asks for a credential, and this command has none.", _ASK_FOR_ONE)
    if reason in {"BAD_CREDENTIALS", "UNAUTHENTICATED"}:
        return problem(
            _CREDENTIALS, f"The credential of {facts.proof or 'this command'} is not accepted. {message}", _ASK_FOR_ONE
        )
    if reason == "NOT_IMPLEMENTED":
        return warning(
            _CREDENTIALS,
            "The server does not tell who you are. It is older than this command, or it is no server of rampd.",
            "Look at `version`.",
        )
    return problem(
        _CREDENTIALS, message, f"Type again: {facts.command('doctor')}. If it stays, look at the log of the server."
    )
