"""What one thread hands to another."""

from __future__ import annotations

import threading

import pytest

from edgeseg.stream.slot import Ended, Slot


def test_the_newest_replaces_what_nobody_took() -> None:
    slot: Slot[int] = Slot()
    assert [slot.put(number, waits=False) for number in (1, 2, 3)] == [None, 1, 2]
    assert slot.is_full() and slot.take(0) == 3 and slot.take(0) is None


def test_nothing_is_replaced_where_all_is_kept() -> None:
    slot: Slot[int] = Slot()
    left: list[int | None] = []
    putting = threading.Thread(target=lambda: left.extend(slot.put(number, waits=True) for number in range(100)))
    putting.start()
    assert [slot.take(5) for _ in range(100)] == list(range(100))
    putting.join()
    assert left == [None] * 100


def test_each_source_has_a_place_of_its_own() -> None:
    slot: Slot[str] = Slot()
    slot.put("a1", "a", waits=True)
    slot.put("b1", "b", waits=False)
    assert slot.put("b2", "b", waits=False) == "b1"
    assert [slot.take(0) for _ in range(3)] == ["a1", "b2", None]


def test_what_is_there_at_the_end_can_still_be_taken() -> None:
    slot: Slot[int] = Slot()
    slot.put(1, waits=True)
    slot.end()
    assert slot.has_ended() and slot.put(2, waits=True) == 2 and slot.take(0) == 1
    with pytest.raises(Ended):
        slot.take(0)


@pytest.mark.parametrize("act", ["put", "take"])
def test_the_end_wakes_who_waits(act: str) -> None:
    slot: Slot[int] = Slot()
    found: list[object] = []

    def wait() -> None:
        try:
            found.append(slot.put(2, waits=True) if act == "put" else slot.take(60))
        except Ended:
            found.append("ended")

    if act == "put":
        slot.put(1, waits=True)
    waiting = threading.Thread(target=wait)
    waiting.start()
    slot.end()
    waiting.join(10)
    assert found == ([2] if act == "put" else ["ended"])
