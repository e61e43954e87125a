import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from lab import Lab  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, f"report_{call.when}", outcome.get_result())


def _lab(request):
    made = Lab()
    yield made
    report = getattr(request.node, "report_call", None)
    if report is not None and report.failed:
        for path, text in made.logs().items():
            print(f"--- {path}\n{text[-4000:]}")
    made.close()


@pytest.fixture
def lab(request):
    """An emulated Internet for one test."""
    yield from _lab(request)


@pytest.fixture(scope="module")
def shared_lab(request):
    """The same for all tests of a file."""
    yield from _lab(request)
