"""`rampd override`."""

from rampd_cli.command import Group

command = Group(
    "override",
    {
        "set": "Gives a repo, or all repos below a prefix, a fixed version or channel.",
        "remove": "Removes an override. The repo follows the percent again.",
        "list": "The overrides of a component.",
        "import": "Sets many overrides from a file of CSV or JSON lines.",
        "export": "Writes all overrides of a component to a file.",
    },
    help="Gives single repos a fixed version or channel. An override wins over the percent.",
)
