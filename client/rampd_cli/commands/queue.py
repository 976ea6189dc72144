"""`rampd queue`."""

from rampd_cli.command import Group

command = Group(
    "queue",
    {
        "list": "The releases of a component that wait, in the order in which they will start.",
        "cancel": "Takes a release out of the queue.",
    },
    help="The releases that wait until the rollout under way has ended.",
)
