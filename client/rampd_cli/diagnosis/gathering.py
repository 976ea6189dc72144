"""Finds out the facts about servers: connects to them, and calls them."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING

from rampd_cli.diagnosis import probe
from rampd_cli.diagnosis.address import Address, Kind
from rampd_cli.diagnosis.facts import Answer, Facts, Knock
from rampd_cli.place import LOOPBACK, Place, data_of_servers
from rampd_cli.session import Session

if TYPE_CHECKING:
    from rampd import Admin


def gather(session: Session, places: Sequence[Place]) -> list[Facts]:
    """Asks each server. If several answer, each is asked again at the end, for its newest change."""
    found = [_about(session, place) for place in places]
    if len(places) > 1:
        found = [_later(session, place, facts) for place, facts in zip(places, found, strict=True)]
    return found


def _about(session: Session, place: Place) -> Facts:
    address = Address.parse(place.server)
    is_unnamed = place.server == LOOPBACK and place.why == "this machine"
    facts = Facts(
        address=address,
        why=place.why,
        now=datetime.now(UTC),
        client_version=metadata.version("rampd"),
        profile=session.typed_profile,
        proof=_proof(place),
        is_unnamed=is_unnamed,
        data=tuple(map(str, data_of_servers(os.environ))) if is_unnamed else (),
    )
    from rampd.errors import RampdError  # noqa: PLC0415 - it is slow to import

    knocked, detail = probe.knock(address)
    facts = replace(facts, knock=knocked, knock_detail=detail)
    try:
        admin = session.admin_of(place)
    except RampdError as error:
        return replace(facts, wrong=error)
    if knocked not in {Knock.OPEN, Knock.NOT_TRIED}:
        return facts
    facts = _who(admin, facts)
    if address.kind is Kind.TCP and address.is_tls:
        facts = replace(facts, certificate=probe.certificate_of(address, place.ca_file))
    if not facts.is_reached:
        return replace(facts, speaks=probe.speaks(address)) if address.kind is Kind.TCP else facts
    # A server that does not accept the credential would say the same again.
    if facts.caller_error is not None and facts.caller_error.reason != "NOT_IMPLEMENTED":
        return facts
    return _told(admin, facts)


def _who(admin: "Admin", facts: Facts) -> Facts:
    from rampd.errors import RampdError  # noqa: PLC0415 - it is slow to import

    try:
        return replace(facts, caller=admin.who_am_i())
    except RampdError as error:
        return replace(facts, caller_error=error)


def _told(admin: "Admin", facts: Facts) -> Facts:
    from rampd.errors import RampdError  # noqa: PLC0415 - it is slow to import

    asked_s = time.time()
    try:
        server = admin.get_server()
    except RampdError as error:
        return replace(facts, answer_error=error)
    return replace(facts, answer=Answer(server, asked_s, time.time()))


def _later(session: Session, place: Place, facts: Facts) -> Facts:
    if facts.server is None:
        return facts
    again = _told(session.admin_of(place), facts)
    if again.server is None or again.answer_error is not None:
        return facts
    return replace(facts, later_entry=again.server.last_entry)


def _proof(place: Place) -> str:
    """Where the credential comes from, in the order in which it is looked for."""
    profile = place.profile
    if profile.token_file:
        return f"the file {profile.token_file} (profile {profile.name})"
    if profile.cert_file:
        return f"the certificate {profile.cert_file} (profile {profile.name})"
    return next((name for name in ("RAMPD_TOKEN", "RAMPD_TOKEN_FILE", "RAMPD_CERT_FILE") if os.environ.get(name)), "")
