"""`rampd plan`."""

from typing import TYPE_CHECKING, Final

import click

from rampd_cli.arguments import COMPONENT, FILE, NumberRange, WholeRange
from rampd_cli.command import command as make_command
from rampd_cli.failures import WrongUseError
from rampd_cli.planning.view import COLUMNS, MANY, RATES, Plan, shown
from rampd_cli.session import Session

if TYPE_CHECKING:
    from rampd import v1

_SUPPOSED_RATE: Final = 0.01
_MOST: Final = 1e9
_SURE: Final = 0.95
"""In how many simulated rollouts a release is found with what is advised, so that in another simulation it is found in 9 of 10."""
_DEFAULTS: Final = {"alpha": 0.01, "tolerance": 1.0, "max_failure_rate": 0.0}
"""A file may leave these settings out. A test compares them with the server's."""


@make_command("plan", columns=COLUMNS)
@click.argument("component", type=COMPONENT)
@click.option(
    "--jobs-per-hour",
    type=NumberRange(min=0.01, max=_MOST),
    required=True,
    metavar="N",
    help="How many jobs of this component run, for all repos together.",
)
@click.option(
    "--repos",
    type=WholeRange(min=1, max=int(_MOST)),
    default=None,
    metavar="N",
    help="How many repos have these jobs. A repo counts once in a rollout. Default: each job has a repo of its own.",
)
@click.option(
    "--policy", "file", type=FILE, default="", metavar="FILE", help="The policy in this file, not the one in force."
)
@click.option(
    "--current-failure-rate",
    type=NumberRange(min=0, max=100),
    default=None,
    metavar="PERCENT",
    help="How many of 100 jobs of current fail. Default: as reported.",
)
def command(
    session: Session,
    component: str,
    jobs_per_hour: float,
    repos: int | None,
    file: str,
    current_failure_rate: float | None,
) -> None:
    """Shows what the policy will do with a release, and when. Then it shows after how many jobs and how much time a release is
    found that fails 2, 5, 10, 50 or 100 % of its jobs.

    The second part is a simulation with the guards that the server runs. With --policy, you can try a policy without setting it.

    \b
      rampd plan restyler --jobs-per-hour 400
      rampd plan restyler --jobs-per-hour 400 --policy p.yaml
    """
    from rampd import v1  # noqa: PLC0415 - it is slow to import
    from rampd_cli.planning.detection import Guards, Traffic, chances, enough_s  # noqa: PLC0415
    from rampd_cli.planning.timeline import timeline  # noqa: PLC0415

    policy = _of_file(session, file, component) if file else session.admin().get_policy(component)
    if not policy.steps:
        raise WrongUseError(
            f"{component} has no plan: its policy has no steps, so people ramp it. To try a plan: rampd policy show "
            f"{component}{session.at} > p.yaml, add steps, then rampd plan {component} --jobs-per-hour N --policy p.yaml{session.at}"
        )
    rate, rate_is = _rate(session, component, current_failure_rate, is_needed=not file)
    is_by_repo = policy.unit != v1.UNIT_JOB and repos is not None
    traffic = Traffic(jobs_per_hour, repos if is_by_repo and repos else 0, rate)
    stages = timeline(policy, jobs_per_hour)
    setting = {name: getattr(policy, name) if policy.HasField(name) else value for name, value in _DEFAULTS.items()}
    guards = Guards(**setting, maturation_s=policy.maturation.ToMilliseconds() / 1000)
    found = [
        None
        if each <= rate * guards.tolerance and each <= (guards.max_failure_rate or 1)
        else chances(stages, guards, traffic, each)
        for each in RATES
    ]
    missed = next((each for each in reversed(found) if each is not None and each.by(MANY) is None), None)
    enough = enough_s(stages, guards, traffic, missed.failure_rate, _SURE) if missed else None
    session.show(shown(Plan(component, policy, stages, traffic, found, rate_is, missed, enough, session.at)))


def _of_file(session: Session, file: str, component: str) -> "v1.Policy":
    from rampd_cli.policies.applying import wanted_of  # noqa: PLC0415 - few people try a file

    found = {each.component: each.policy for each in wanted_of(session, [file])}
    if component not in found:
        raise WrongUseError(f"{file} has no policy of {component}. It has: {', '.join(found) or 'none'}.")
    return found[component]


def _rate(session: Session, component: str, given: float | None, *, is_needed: bool) -> tuple[float, str]:
    """Returns the failure rate of current, and where it comes from."""
    from rampd._contract.wording import counted, one_line  # noqa: PLC0415 - it is slow to import
    from rampd.errors import NotFoundError  # noqa: PLC0415

    if given is not None:
        return given / 100, "as given"
    try:
        outcomes = session.admin().get_rollout(component).current_outcomes
    except NotFoundError:
        if is_needed:
            raise
        return _SUPPOSED_RATE, "supposed, because there is no current"
    if outcomes.HasField("failure_rate"):
        return (
            outcomes.failure_rate,
            f"{outcomes.failures:,} of {counted(outcomes.jobs, 'reported job')} of {one_line(outcomes.tag)}",
        )
    return _SUPPOSED_RATE, "supposed, because no job of current was reported"
