"""`rampd quarantine`."""

from rampd_cli.command import Group

command = Group(
    "quarantine",
    {
        "add": "Quarantines a tag. If next has it, next is rolled back.",
        "remove": "Ends the quarantine of a tag.",
        "list": "The quarantined tags of a component.",
    },
    help="Tags that must not be rolled out: they can't be released, ramped up, finalized or reverted to.",
)
