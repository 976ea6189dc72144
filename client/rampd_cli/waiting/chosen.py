"""Which release a person means. Pure."""

from collections.abc import Sequence

from rampd import v1
from rampd.errors import NotFoundError
from rampd_cli.failures import WrongUseError


def chosen(component: str, releases: Sequence[v1.Release], text: str) -> v1.Release:
    """Returns the release that `text` names: its tag, its number, or `#` and its number. Of several with the tag, the newest.

    If `text` is empty: next, otherwise the newest of the queue, otherwise current. Raises NotFoundError, and WrongUseError if the
    text is a tag of one release and the number of another.
    """
    newest_first = sorted(releases, key=lambda release: release.number, reverse=True)
    if not text:
        for state in (v1.RELEASE_STATE_NEXT, v1.RELEASE_STATE_QUEUED, v1.RELEASE_STATE_CURRENT):
            for release in newest_first:
                if release.state == state:
                    return release
        raise _not_found(component, "no release")
    number = text.removeprefix("#")
    # As texts: Python makes no number of thousands of digits.
    by_number = [each for each in newest_first if str(each.number) == number]
    by_tag = [each for each in newest_first if each.tag == text]
    if by_tag and by_number and by_tag[0].number != by_number[0].number:
        raise WrongUseError(
            f"{text} is the tag of release {by_tag[0].number} of {component}, and the number of another release. "
            f"Write '#{by_tag[0].number}' for the tag, or '#{by_number[0].number}' for the number."
        )
    for release in (*by_tag, *by_number):
        return release
    raise _not_found(component, f"no release {text} among its last {len(releases)}")


def _not_found(component: str, what: str) -> NotFoundError:
    return NotFoundError(
        f"{component} has {what}.",
        reason="RELEASE_NOT_FOUND",
        metadata={"component": component},
    )
