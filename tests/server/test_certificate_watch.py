"""A renewed certificate is noticed once, when it is whole and sites would accept it."""

import datetime as dt
import logging
import shutil
from pathlib import Path

import pytest

from mien_server.certificate_watch import CertificateWatch
from mien_server.certificates import issue_server_certificate, make_authority

NOW = dt.datetime.now(dt.UTC)


@pytest.fixture
def tls(tmp_path: Path) -> Path:
    tls = tmp_path / "server" / "tls"
    tls.mkdir(parents=True)
    make_authority(tls, NOW)
    issue_server_certificate(tls, [], [], 30, NOW)
    return tls


def looks(watch: CertificateWatch, count: int = 4) -> list[bool]:
    return [watch.replaced() for _ in range(count)]


def test_a_new_certificate_is_noticed_once_and_an_old_one_never(tls: Path) -> None:
    watch = CertificateWatch(tls, every_s=0)
    assert looks(watch) == [False] * 4
    issue_server_certificate(tls, ["new.example.org"], [], 60, NOW)
    assert looks(watch) == [False, True, False, False], "two looks, so that key and certificate are a pair"
    (tls / "server.crt").touch()
    assert looks(watch) == [False] * 4


def test_half_a_renewal_is_waited_for(tls: Path, caplog: pytest.LogCaptureFixture) -> None:
    watch = CertificateWatch(tls, every_s=0)
    other = tls.parent / "other"
    shutil.copytree(tls, other)
    issue_server_certificate(other, [], [], 60, NOW)
    shutil.copy(other / "server.key", tls)
    assert watch.replaced() is False
    shutil.copy(other / "server.crt", tls)
    assert looks(watch) == [False, True, False, False]
    assert caplog.text == "", "nobody is alarmed"


def test_one_that_no_site_would_accept_is_named_and_left_alone(
    tls: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watch = CertificateWatch(tls, every_s=0)
    issue_server_certificate(tls, [], [], 1, NOW - dt.timedelta(days=3))
    with caplog.at_level(logging.ERROR):
        assert looks(watch) == [False] * 4
    assert caplog.text.count("event=certificate_not_taken") == 1
    assert "expired" in caplog.text
    (tls / "server.crt").unlink()
    assert looks(watch) == [False] * 4
    issue_server_certificate(tls, [], [], 60, NOW)
    assert True in looks(watch)


def test_it_is_looked_at_only_now_and_then(tls: Path) -> None:
    watch = CertificateWatch(tls, every_s=3600)
    issue_server_certificate(tls, [], [], 60, NOW)
    assert looks(watch) == [False] * 4
