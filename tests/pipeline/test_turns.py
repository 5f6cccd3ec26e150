"""Whose piece is next."""

from __future__ import annotations

from app.pipeline.turns import Turn, Turns, Urgency


def anything(_: str) -> bool:
    return True


def all_of(turns: Turns[str]) -> list[str]:
    taken: list[str] = []
    while (item := turns.take(anything)) is not None:
        taken.append(item)
    return taken


def test_keys_take_turns_and_so_do_requests_of_a_key() -> None:
    turns: Turns[str] = Turns()
    for number in range(3):
        for request in "ab":
            turns.add(f"many {request}{number}", Turn(request, key="many"))
        turns.add(f"one {number}", Turn("c", key="one"))
    order = all_of(turns)
    assert order == ["many a0", "one 0", "many b0", "one 1", "many a1", "one 2", "many b1", "many a2", "many b2"]
    assert len(turns) == 0


def test_live_goes_first_and_files_go_on_afterwards() -> None:
    turns: Turns[str] = Turns()
    turns.add("file", Turn("f"))
    turns.add("live 1", Turn("l", urgency=Urgency.FINAL))
    turns.add("live 2", Turn("l", urgency=Urgency.FINAL))
    assert all_of(turns) == ["live 1", "live 2", "file"]


def test_who_does_not_fit_keeps_the_place() -> None:
    turns: Turns[str] = Turns()
    turns.add("large", Turn("a"))
    turns.add("small", Turn("b"))
    assert turns.take(lambda item: item == "small") == "small"
    turns.add("small again", Turn("b"))
    assert all_of(turns) == ["large", "small again"]


def test_a_request_never_overtakes_itself() -> None:
    turns: Turns[str] = Turns()
    turns.add("first", Turn("a"))
    turns.add("second", Turn("a"))
    assert turns.take(lambda item: item == "second") is None
    assert len(turns) == 2


def test_what_was_given_up_is_gone_and_removing_again_is_harmless() -> None:
    turns: Turns[str] = Turns()
    turns.add("stays", Turn("a", key="k"))
    turns.add("goes", Turn("a", key="k"))
    for _ in range(2):
        turns.remove("goes", Turn("a", key="k"))
    assert len(turns) == 1
    assert all_of(turns) == ["stays"]
    turns.remove("stays", Turn("a", key="k"))
    assert len(turns) == 0
