"""What the tests of the lab room share."""

import pytest


@pytest.fixture(autouse=True)
def _this_process_keeps_its_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the client room's tests: a setting for good, which would cost this process minutes."""
    monkeypatch.setattr("mien_client.sources.opening.overwrite_freed_memory", lambda: None)
