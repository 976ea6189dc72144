"""The table of docs/reliability.md has a row for each fault and a column for each promise of `make chaos`."""

from rampd import v1
from tests.chaos.faults import KINDS
from tests.chaos.record import Call, Fault, Life, Record
from tests.chaos.table import BEGIN, DOCUMENT, END, HEADS, SHOWN, Row, markdown, row_of


def test_each_fault_has_its_words() -> None:
    assert tuple(SHOWN) == KINDS


def test_the_document_has_each_fault_and_each_promise() -> None:
    _, _, rest = DOCUMENT.read_text("utf-8").partition(BEGIN)
    shown, _, _ = rest.partition(END)
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in shown.strip().splitlines()]

    assert tuple(head) == HEADS
    assert [row[0] for row in rows] == list(SHOWN.values())


def test_a_row_counts_what_was_answered_during_the_fault_and_between() -> None:
    record = Record(lives=[Life(0, "0-0", 0.0, 0.0)], faults=[Fault("slow", 0, 10.0, 11.0)])
    for began_s, took_s, code in ((1.0, 0.001, ""), (10.5, 0.2, ""), (10.8, 0.1, "UNAVAILABLE"), (20.0, 0.002, "")):
        response = None if code else v1.ResolveResponse()
        request = v1.ResolveRequest(component="lone", repo="acme/a")
        record.add(Call("launcher0", 0, "Resolve", request, began_s, began_s + took_s, response, code))

    row = row_of("slow", record)

    assert (row.faults, row.answered, row.asked) == (1, 1, 2)
    assert (round(row.during_s, 3), round(row.between_s, 3)) == (0.2, 0.002)


def test_a_broken_promise_is_seen_in_the_table() -> None:
    row = Row("slow", 3, [0, 2, *[0] * (len(HEADS) - 7)], 10, 12, 0.2, 0.002)

    shown = markdown([row])

    assert "**broken 2 times**" in shown
    assert "10 of 12" in shown
