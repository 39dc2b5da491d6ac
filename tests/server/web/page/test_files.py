"""The page's files: uPlot's are those of its package, ours ask nobody else and never take data for markup."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from mien_server.history.kinds import KINDS
from mien_server.web.dashboard.page import PAGE

VENDOR = PAGE / "vendor" / "uplot"
OURS = sorted(
    path
    for path in PAGE.rglob("*")
    if path.suffix in (".js", ".css", ".html", ".svg") and VENDOR not in path.parents
)


def test_uplot_is_what_was_recorded() -> None:
    lines = (VENDOR / "SHA256SUMS").read_text().splitlines()
    recorded = {name: digest for digest, name in (line.split("  ") for line in lines)}
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.iterdir()}
    del found["SHA256SUMS"]
    assert found == recorded
    assert set(recorded) == {"LICENSE", "uPlot.esm.js", "uPlot.min.css"}


def test_its_package_is_pinned_with_its_hash_and_without_a_host() -> None:
    wanted = json.loads((PAGE / "package.json").read_text())["dependencies"]
    packages = json.loads((PAGE / "package-lock.json").read_text())["packages"]
    locked = packages["node_modules/uplot"]
    assert wanted == packages[""]["dependencies"] == {"uplot": locked["version"]}
    assert locked["integrity"].startswith("sha512-")
    assert not any("resolved" in package for package in packages.values())


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(PAGE)))
def test_no_other_host_no_markup_from_data(path: Path) -> None:
    text = path.read_text()
    assert (
        re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", text.replace("http://www.w3.org/2000/svg", ""))
        == []
    )
    taboo = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|\.srcdoc|DOMParser"
    assert re.findall(taboo, text) == []
    assert re.findall(r"<style|<script(?![^>]* src=)|\sstyle=|\son[a-z]+=", text) == []


def test_every_kind_of_event_can_be_filtered_for() -> None:
    text = (PAGE / "log" / "kinds.js").read_text()
    groups = text[text.index("GROUPS") : text.index("];")]
    in_groups = re.findall(r'"([a-z_]+)"', groups)
    assert sorted(in_groups) == sorted(KINDS)
