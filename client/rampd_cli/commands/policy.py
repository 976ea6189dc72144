"""`rampd policy`."""

from rampd_cli.command import Group

command = Group(
    "policy",
    {
        "show": "The policies of components, as a file.",
        "diff": "What `apply` would change.",
        "apply": "Sets the policies that files have.",
        "edit": "Opens the policy of a component in your editor, and sets it.",
        "schema": "The JSON Schema of such a file, for editors.",
    },
    help="""The settings of components, also as files: the plan, what guards do, the queue.

    \b
      rampd policy show restyler > restyler.yaml
      rampd policy apply restyler.yaml
    """,
)
