"""The state machine does what docs/state-machine.md says, and the table is complete enough to notice any change."""

import ast
import inspect
from collections.abc import Iterator
from types import FunctionType, ModuleType

import pytest

from rampd_server.domain.rollout import (
    commands,
    deciding,
    moves,
    protection,
    ramping,
    releasing,
    requirements,
    reverting,
    transition,
)
from rampd_server.domain.rollout.model import RolloutState
from tests.unit.state_machine_table import DOCUMENT, Cell, cells, play


def every_command() -> list[type[commands.Command]]:
    kinds = (commands.Command, commands.Lowering)
    return [command for kind in kinds for command in kind.__subclasses__() if command not in kinds]


CELLS = list(cells(DOCUMENT.read_text()))


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_the_state_machine_does_what_a_cell_of_the_table_says(cell: Cell) -> None:
    assert play(cell) == cell.expected


def test_the_table_has_every_verb_in_every_state() -> None:
    verbs = {verb.__name__ for verb in every_command()}
    assert {(cell.verb.split()[0], cell.state) for cell in CELLS} >= {
        (verb, state) for verb in verbs for state in RolloutState
    }


def test_flipping_any_cell_fails() -> None:
    everything = sorted({cell.expected for cell in CELLS})
    for cell in CELLS:
        played = play(cell)
        for flipped in everything:
            assert (played == flipped) == (cell.expected == flipped), cell


# Functions in which every `if` only chooses a message, and single `if`s that do. `_without_old` and the timeline that
# `seal` keeps have their own tests.
MESSAGES_ONLY = {
    "_unchanged_message", "what_blocks", "_what_starts", "because", "require_next", "refuse_frozen",
    "refuse_quarantined", "unfreeze", "set_policy", "new_freeze", "_without_old", "seal",
    "what_goes_back", "_what_became_of_next", "_what_begins", "_what_else", "_reverted", "_is_current_already",
    "abandon-1", "freeze-0", "quarantine-0", "quarantine-1", "quarantine-2", "ramp_to-2", "ramp_to-3", "resume-2",
    "rollback-1", "_named_target-0", "_what_waits_for_nothing", "rises",
}  # fmt: skip


def _rules() -> Iterator[tuple[FunctionType, int]]:
    modules: tuple[ModuleType, ...] = (
        deciding,
        releasing,
        moves,
        protection,
        ramping,
        reverting,
        requirements,
        transition,
    )
    for module in modules:
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and name not in MESSAGES_ONLY:
                for which, _ in enumerate(_decisions(function)):
                    if module is moves or f"{name}-{which}" not in MESSAGES_ONLY:
                        yield function, which


def _decisions(function: FunctionType) -> list[ast.AST]:
    return [node for node in ast.walk(ast.parse(inspect.getsource(function))) if isinstance(node, ast.If)]


@pytest.mark.parametrize(
    ("function", "which"),
    [pytest.param(f, n, id=f"{f.__module__.rsplit('.')[-1]}.{f.__name__}-{n}") for f, n in _rules()],
)
def test_the_table_notices_a_negated_rule(function: FunctionType, which: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the function with its n-th `if` negated, expect that some cell differs."""
    tree = ast.parse(inspect.getsource(function))
    decision = [node for node in ast.walk(tree) if isinstance(node, ast.If)][which]
    decision.test = ast.UnaryOp(ast.Not(), decision.test)
    namespace = dict(function.__globals__)
    exec(compile(ast.fix_missing_locations(tree), "<mutant>", "exec"), namespace)
    monkeypatch.setattr(function, "__code__", namespace[function.__name__].__code__)

    def differs(cell: Cell) -> bool:
        try:
            return play(cell) != cell.expected
        except Exception:
            return True

    assert any(differs(cell) for cell in CELLS)
