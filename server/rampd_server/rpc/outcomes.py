"""ReportOutcomes: converts outcomes of jobs from messages to the domain, and verdicts back."""

import asyncio
import hashlib

from rampd import v1
from rampd_server.domain.evidence.admission import EXPLANATIONS, JobOutcome
from rampd_server.rpc import refused_calls
from rampd_server.rpc.binding import Call
from rampd_server.rpc.call import ANONYMOUS
from rampd_server.service.outcome_intake import Outcomes, Report

_CHUNK = 200
_IS_NEXT = {v1.CHANNEL_CURRENT: False, v1.CHANNEL_NEXT: True}
_REASONS = {number: name.removeprefix("RESOLVE_REASON_") for name, number in v1.ResolveReason.items()}


class OutcomesServicer:
    """The method of ResolverService that writes."""

    def __init__(self, outcomes: Outcomes) -> None:
        self._outcomes = outcomes

    async def report_outcomes(self, request: v1.ReportOutcomesRequest, call: Call) -> v1.ReportOutcomesResponse:
        """Answers after all outcomes of the report are stored."""
        refused_calls.tell_of_hidden(call, (each.component for each in request.outcomes))
        verdicts = await self._outcomes.report(await _report(request, call.identity), call.sees)
        ignored = [
            v1.IgnoredOutcome(index=index, reason=verdict, message=EXPLANATIONS[verdict])
            for index, verdict in enumerate(verdicts)
            if verdict is not None
        ]
        return v1.ReportOutcomesResponse(accepted=len(verdicts) - len(ignored), ignored=ignored)


async def _report(request: v1.ReportOutcomesRequest, identity: str) -> Report:
    outcomes: list[JobOutcome] = []
    for index, outcome in enumerate(request.outcomes):
        if index % _CHUNK == _CHUNK - 1:
            # Resolve must not wait for a whole batch.
            await asyncio.sleep(0)
        duration = outcome.duration
        outcomes.append(
            JobOutcome(
                outcome.component,
                outcome.release,
                outcome.revision,
                _IS_NEXT.get(outcome.channel),
                _REASONS[outcome.reason],
                outcome.repo,
                outcome.job_id,
                outcome.result == v1.OUTCOME_RESULT_FAILED,
                duration.seconds * 1000 + duration.nanos // 1_000_000,
            )
        )
    content = request.SerializeToString(deterministic=True)
    digest = hashlib.blake2b(content, digest_size=8).hexdigest()
    # A launcher must not use up the sequences of another one, so the id of a client belongs to its identity.
    client = request.client_id if identity == ANONYMOUS else f"{identity}/{request.client_id}"
    return Report(client, request.sequence, digest, identity, outcomes)
