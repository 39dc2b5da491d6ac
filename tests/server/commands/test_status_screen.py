"""What an operator reads: every figure there, at any width, and nothing that commands the terminal."""

import io
import re
import time
from collections.abc import Iterator

import pytest
from rich.console import Console

from mien_server.commands.status_screen import status_lines
from mien_server.facts import RoundFacts, Status

from ..made_facts import made_now, made_round, made_run, made_server, made_site, made_status

ROUNDS = [made_round(number) for number in (1, 2, 3)]


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def screen(
    status: Status,
    rounds: list[RoundFacts] | None = None,
    warnings: tuple[str, ...] = (),
    width: int = 120,
    encoding: str = "utf-8",
) -> list[str]:
    """Its lines as plain text, as a console of ``width`` prints them."""
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=out, width=width)
    for line in status_lines(status, ROUNDS if rounds is None else rounds, warnings, console):
        console.print(line)
    out.flush()
    out.seek(0)
    return out.read().splitlines()


def test_a_run_that_goes_on() -> None:
    lines = screen(made_status())
    assert lines[:9] == [
        "server    up since 2026-11-23 11:00, version 0.1.0",
        "run       2026-11-23-002  running  fedavg, quorum 2",
        "rounds    3 of 20 done, began 2026-11-23 11:58",
        "now       round 4 of 20: sites are training, at most 9 min more",
        "          waiting for 1 of 3 sites: lab-2 last seen 40 s ago",
        "left      about 3 min",
        "valence   CCC 0.300  ▁▅█  worst site 0.050 (lab-3)",
        "arousal   CCC 0.375  ▁▅█",
        "loss          0.870  █▅▁  worst site 0.950 (lab-3)",
    ]
    assert "queue     2026-11-23-003  20 rounds  behind 2026-11-23-002" in lines
    assert "release   1.0.0" in lines


def test_sites_are_a_table_with_their_errors() -> None:
    lines = screen(made_status())
    table = lines[lines.index("") + 1 :]
    assert table[:2] == [
        "site   stands      last seen  round  frames  valence  arousal  loss   norm   device  version",
        "lab-1  online      2 s ago    3      1500    0.250    -        0.875  1.500  cpu     0.1.0",
    ]
    assert table[3:5] == [
        "lab-3  offline     2 s ago    3      1500    0.250    -        0.875  1.500  cpu     0.1.0",
        "  no answer within 600 s",
    ]
    assert table[5].split()[:3] == ["lab-4", "never", "seen"]


@pytest.mark.parametrize("width", [120, 80, 60, 40, 30])
def test_fits_any_terminal_and_still_says_who_is_waited_for(width: int) -> None:
    lines = screen(made_status(), warnings=("the certificate ends in 12 days",), width=width)
    assert max(map(len, lines)) <= width
    assert {"lab-1", "lab-2", "lab-6"} <= {line.split(" ")[0] for line in lines}
    words = " ".join(" ".join(lines).split())
    assert "waiting for 1 of 3 sites: lab-2 last seen 40 s ago" in words
    assert "WARNING the certificate ends in 12 days" in words


def test_says_that_the_server_is_down_and_what_to_do() -> None:
    lines = screen(made_status(server=made_server(up=False, since=None), now=None))
    assert lines[0] == "server    not running; `mien server up` starts it. Version 0.1.0"


def test_says_that_the_history_is_behind() -> None:
    assert "2 min behind" in screen(made_status(server=made_server(behind_s=130.0)))[0]


def test_why_a_run_ended() -> None:
    run = made_run(state="failed", reason="the quorum is 3 but only 2 sites are enrolled", ended=None)
    assert "why       the quorum is 3 but only 2 sites are enrolled" in screen(made_status(run=run, now=None))


def test_a_second_attempt_and_no_deadline() -> None:
    now = made_now(attempt=2, deadline=None, phase="waiting", in_words="", left_s=None)
    assert "now       round 4 of 20, attempt 2: waiting for sites" in screen(made_status(now=now))


def test_a_new_server_says_what_comes_first() -> None:
    status = made_status(run=None, now=None, queue=(), sites=(), latest_release=None)
    assert screen(status, rounds=[]) == [
        "server    up since 2026-11-23 11:00, version 0.1.0",
        "run       none yet; `mien server run --rounds N` starts one",
        "release   none yet; `mien server promote` makes one",
        "",
        "no sites yet; let one in: mien server invite --name lab-1",
    ]


def test_what_is_undefined_is_no_number() -> None:
    nothing = made_round(1).model_copy(
        update={"valence": made_round(1).arousal.model_copy(update={"pooled": None})}
    )
    assert screen(made_status(), rounds=[nothing])[6].split() == ["valence", "CCC", "-"]


def test_a_terminal_without_block_signs_gets_others() -> None:
    assert "valence   CCC 0.300  _+@  worst site 0.050 (lab-3)" in screen(made_status(), encoding="ascii")


def test_what_a_site_says_cannot_command_the_terminal() -> None:
    nasty = "\x1b]0;owned\x07\x1b[2J\x9b31m[red]hello[/red]\nserver    up"
    status = made_status(
        sites=(made_site("lab-1", error=nasty, device=nasty, version=nasty),),
        run=made_run(state="failed", reason=nasty),
        now=made_now(in_words=nasty),
    )
    lines = screen(status, width=400)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", "".join(lines))
    assert "[red]hello[/red]" in lines[-1]  # nor is it markup
    assert [line for line in lines if line.startswith("server")] == [lines[0]]
