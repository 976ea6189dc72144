"""rampd as a provider of OpenFeature: a string flag for each component, whose value is the tag to run.

    from openfeature import api
    from openfeature.evaluation_context import EvaluationContext
    from rampd.openfeature import RampdProvider

    api.set_provider_and_wait(RampdProvider("127.0.0.1:50051"))
    client = api.get_client()
    client.get_string_value("restyler", "20200301", EvaluationContext("acme/app", {"job_id": "42"}))

The targeting key is the repo. The attribute `job_id` may give the job's id. Needs `pip install 'rampd[openfeature]'`.
"""

import contextlib
import math
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NoReturn

try:
    from openfeature import _event_support
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.event import ProviderEventDetails
    from openfeature.exception import (
        ErrorCode,
        FlagNotFoundError,
        GeneralError,
        InvalidContextError,
        ProviderNotReadyError,
        TargetingKeyMissingError,
        TypeMismatchError,
    )
    from openfeature.flag_evaluation import FlagMetadata, FlagResolutionDetails, FlagValueType, Reason
    from openfeature.provider import AbstractProvider, Metadata
except ImportError as error:
    raise ImportError(
        "rampd.openfeature needs OpenFeature's SDK, which is not installed: pip install 'rampd[openfeature]'"
    ) from error

from rampd._decision.resolution import Resolution, ResolveReason
from rampd._decision.staleness import NEXT_MAX_STALE_S
from rampd._runtime.fork_gate import Living, OnePerProcess, in_child
from rampd._watching.feed import Change
from rampd.credentials import Credentials
from rampd.errors import ClosedError, InvalidArgumentError, NotFoundError, RampdError
from rampd.resolver import Resolver, Status

__all__ = ["RampdProvider"]

_LOOK_S = 1.0
"""How often the provider checks whether its state is stale."""
_REASONS = {
    ResolveReason.STEADY: Reason.STATIC,
    ResolveReason.WEIGHT: Reason.SPLIT,
    ResolveReason.OVERRIDE_CHANNEL: Reason.TARGETING_MATCH,
    ResolveReason.OVERRIDE_TAG: Reason.TARGETING_MATCH,
    ResolveReason.STALE: Reason.STALE,
    ResolveReason.FALLBACK: Reason.DEFAULT,
}
_NOT_READY = {"NO_VERSION", "CLOSED"}


class RampdProvider(OnePerProcess, AbstractProvider):
    """Answers string flags from a `Resolver` in mode `local`.

    The variant of a flag is the channel, `current` or `next`. If an override names a tag, the variant is the tag. The
    metadata has `release`, `revision`, `rampd_reason` and `stale`, and if they are known, `channel`, `bucket`,
    `snapshot_age_s` and the release's attributes as `attribute.NAME`. Errors: FLAG_NOT_FOUND (no such component), TARGETING_KEY_MISSING,
    INVALID_CONTEXT (the repo or the job id is not valid), TYPE_MISMATCH (another type than string), PROVIDER_NOT_READY (no
    server has answered yet).

    Events: READY or ERROR after the start; STALE when the store has not confirmed the state for 5 s, and READY when it
    confirms the state again; CONFIGURATION_CHANGED with the components that changed.
    """

    def __init__(
        self,
        target: str,
        *,
        timeout: float | None = None,
        components: Iterable[str] = (),
        next_max_stale: float = NEXT_MAX_STALE_S,
        snapshot_file: str | Path | None = None,
        credentials: Credentials | None = None,
        ca_file: str | Path | None = None,
    ) -> None:
        """Takes the arguments of `Resolver`. The SDK calls `initialize`, which connects. Raises InvalidArgumentError."""
        super().__init__()
        self._new_resolver = partial(
            Resolver,
            target,
            timeout=timeout,
            components=tuple(components),
            next_max_stale=next_max_stale,
            snapshot_file=snapshot_file,
            credentials=credentials,
            ca_file=ca_file,
        )
        self._resolver = self._new_resolver()
        self._stop = threading.Event()
        self._is_running = False
        self._said = ""
        self._began_s = 0.0
        _all.add(self)

    @property
    def resolver(self) -> Resolver:
        """The resolver that answers. It can report jobs, for instance."""
        return self._resolver

    # Methods that the SDK calls.

    def get_metadata(self) -> Metadata:
        """Returns the name that events carry."""
        return Metadata("rampd")

    def initialize(self, evaluation_context: EvaluationContext) -> None:  # noqa: ARG002 - the SDK's signature
        """Waits for the first state until the time-out. Raises ProviderNotReadyError if no state comes. If a state comes
        later, the provider emits READY.
        """
        if self._stop.is_set():
            self._resolver, self._stop = self._new_resolver(), threading.Event()
        is_running, self._is_running = self._is_running, True
        if not is_running:
            self._resolver.on_change(self._emit_change)
            self._resolver.connect()
        status = self._resolver.status()
        if not is_running:
            # The SDK itself emits READY or ERROR after the start.
            said = _state(status)
            self._said, self._began_s = "ready" if said == "stale" else said, time.monotonic()
            self._start_to_look()
        if status.source == "none":
            raise ProviderNotReadyError(f"no state has come from {status.target}: {status.error or 'no answer yet'}")

    def shutdown(self) -> None:
        """Closes the resolver. `initialize` opens another one."""
        self._is_running = False
        self._stop.set()
        self._resolver.close()

    def resolve_string_details(
        self,
        flag_key: str,
        default_value: str,  # noqa: ARG002 - the SDK's signature
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[str]:
        """Returns the tag of a component for a repo. If this raises OpenFeatureError, the SDK returns `default_value`."""
        repo, job_id = _who(evaluation_context)
        try:
            return _details(self._resolver.resolve(flag_key, repo=repo, job_id=job_id))
        except RampdError as error:
            raise _error(error) from error

    async def resolve_string_details_async(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """Works like `resolve_string_details`: after `initialize` there is nothing to wait for."""
        return self.resolve_string_details(flag_key, default_value, evaluation_context)

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """Raises TypeMismatchError: components are strings."""
        _refuse(flag_key, default_value, evaluation_context)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """Raises TypeMismatchError: components are strings."""
        _refuse(flag_key, default_value, evaluation_context)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """Raises TypeMismatchError: components are strings."""
        _refuse(flag_key, default_value, evaluation_context)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """Raises TypeMismatchError: components are strings."""
        _refuse(flag_key, default_value, evaluation_context)

    # Events for the SDK.

    def _emit_change(self, change: Change) -> None:
        self.emit_provider_configuration_changed(
            ProviderEventDetails(flags_changed=[change.component], metadata={"revision": change.revision})
        )

    def _start_to_look(self) -> None:
        look = threading.Thread(
            target=self._look, args=(self._stop, self._resolver), name="rampd-openfeature", daemon=True
        )
        look.start()

    def _look(self, stop: threading.Event, resolver: Resolver) -> None:
        with contextlib.suppress(ClosedError):
            resolver.connect()
        while not stop.is_set():
            self._emit_state(resolver.status())
            stop.wait(_LOOK_S)

    def _emit_state(self, status: Status) -> None:
        now = _state(status)
        if now == self._said:
            return
        self._said = now
        if now == "ready":
            self.emit_provider_ready(ProviderEventDetails())
        elif now == "stale":
            message = f"the state is {status.snapshot_age_s:.0f} s old: {status.error or 'the server is silent'}"
            self.emit_provider_stale(ProviderEventDetails(message=message))
        else:
            self.emit_provider_error(ProviderEventDetails(message="no state", error_code=ErrorCode.GENERAL))

    def _renew(self) -> None:
        """Starts the thread of a forked child. The SDK asks for nothing while it believes that the provider is not ready."""
        was_stopped, self._stop = self._stop.is_set(), threading.Event()
        if was_stopped:
            self._stop.set()
        elif self._is_running:
            # The SDK emits the first event when `initialize` returns. If the fork came before, it emits none in the child.
            if time.monotonic() - self._began_s < _LOOK_S:
                self._said = ""
            self._start_to_look()


def _renew_sdk() -> None:
    # In a child the SDK relies on idle threads of the parent and runs no handler. It has no public name for this.
    if hasattr(_event_support, "_event_executor"):
        _event_support._event_executor = ThreadPoolExecutor(thread_name_prefix="openfeature-event-handler")


in_child(_renew_sdk)
_all = Living(renew=RampdProvider._renew)


def _state(status: Status) -> str:
    return "none" if status.source == "none" else "stale" if status.stale else "ready"


def _who(context: EvaluationContext | None) -> tuple[str, str]:
    if context is None or not context.targeting_key:
        raise TargetingKeyMissingError("the targeting key is the repo that the job is for, such as acme/app")
    job_id = context.attributes.get("job_id", "")
    if not isinstance(job_id, str):
        raise InvalidContextError(f"the attribute job_id must be a string; got {job_id!r}")
    return context.targeting_key, job_id


def _error(error: RampdError) -> FlagNotFoundError | InvalidContextError | ProviderNotReadyError | GeneralError:
    if error.reason in _NOT_READY:
        return ProviderNotReadyError(error.message)
    if isinstance(error, NotFoundError):
        return FlagNotFoundError(error.message)
    if isinstance(error, InvalidArgumentError):
        # A name that is not valid cannot be the name of a component.
        is_flag = any(field == "component" for field, _ in error.violations)
        return FlagNotFoundError(error.message) if is_flag else InvalidContextError(error.message)
    return GeneralError(error.message)


def _refuse(flag_key: str, default_value: object, _context: EvaluationContext | None) -> NoReturn:
    raise TypeMismatchError(f"{flag_key} is a component of rampd: a string, not {type(default_value).__name__}")


def _details(resolution: Resolution) -> FlagResolutionDetails[str]:
    channel = resolution.channel
    return FlagResolutionDetails(
        value=resolution.tag,
        reason=_REASONS[resolution.reason],
        variant=resolution.tag if channel is None else channel.value.lower(),
        flag_metadata=_metadata(resolution),
    )


def _metadata(resolution: Resolution) -> FlagMetadata:
    metadata: dict[str, bool | int | float | str] = {
        "release": resolution.release,
        "revision": resolution.revision,
        "rampd_reason": resolution.reason.value,
        "stale": resolution.stale,
    }
    if resolution.channel is not None:
        metadata["channel"] = resolution.channel.value.lower()
    if math.isfinite(resolution.snapshot_age_s):
        metadata["snapshot_age_s"] = resolution.snapshot_age_s
    if resolution.bucket is not None:
        metadata["bucket"] = resolution.bucket
    for name, value in resolution.decision.attributes.items():
        metadata[f"attribute.{name}"] = value
    return metadata
