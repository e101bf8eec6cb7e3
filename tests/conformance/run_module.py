"""Runs test modules of CPython's own suite in this process and writes what became of each test.

run_module.py RESULT.json METHOD|MODULE

METHOD (fork, spawn, forkserver, or a context of ours: altsem-fork, ...) stands for
test._test_multiprocessing with that start method.
"""

import importlib
import json
import multiprocessing
import os
import pkgutil
import sys
import time
import unittest
from types import ModuleType

METHODS = ("fork", "spawn", "forkserver")


class Result(unittest.TextTestResult):
    """Notes the outcome of every test."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.outcomes = []

    def startTest(self, test):
        super().startTest(test)
        self._began = time.monotonic()

    def stopTest(self, test):
        super().stopTest(test)
        # Some tests leave another start method behind than they have found, or none, and all that
        # follow would try that one.
        if what in METHODS or what.startswith("altsem"):
            multiprocessing.set_start_method(what, force=True)

    def note(self, test, outcome, reason=""):
        seconds = time.monotonic() - getattr(self, "_began", time.monotonic())
        self.outcomes.append((test.id(), outcome, reason, round(seconds, 3)))

    def addSuccess(self, test):
        super().addSuccess(test)
        self.note(test, "passed")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.note(test, "failed", self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self.note(test, "failed", self.errors[-1][1])

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.note(test, "skipped", reason)

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self.note(test, "passed", "expected failure")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.note(test, "failed", "unexpected success")

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.note(test, "failed", (self.failures + self.errors)[-1][1])


def wrapper(method):
    """The module that applies the tests to a start method, as CPython's own do.

    Some distributions leave those out; and for contexts of ours there are none.
    """
    name = f"conformance_{method.replace('-', '_')}"
    text = (
        "from test import _test_multiprocessing\n"
        f"_test_multiprocessing.install_tests_in_module_dict(globals(), {method!r})\n"
    )
    if "altsem" in method:
        text = "import altsem\n" + text
    with open(f"{name}.py", "w") as file:
        file.write(text)
    # Children import it as well.
    sys.path.insert(0, os.getcwd())
    return [importlib.import_module(name)]


def modules(what):
    name = f"test.test_multiprocessing_{what}" if what in METHODS else what
    if what.startswith("altsem"):
        return wrapper(what)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError:
        if what not in METHODS:
            raise
        return wrapper(what)
    if not hasattr(module, "__path__"):
        return [module]
    return [
        importlib.import_module(f"{name}.{found.name}")
        for found in pkgutil.iter_modules(module.__path__)
        if found.name.startswith("test_")
    ]


def isolated(module: ModuleType):
    """The tests of the module.  unittest runs setUpModule and tearDownModule as it goes along."""
    return unittest.defaultTestLoader.loadTestsFromModule(module)


if __name__ == "__main__":
    target, what = sys.argv[1:]
    suite = unittest.TestSuite(isolated(module) for module in modules(what))
    began = time.monotonic()
    runner = unittest.TextTestRunner(stream=sys.stderr, verbosity=2, resultclass=Result)
    result = runner.run(suite)
    with open(target, "w") as file:
        json.dump({"seconds": time.monotonic() - began, "outcomes": result.outcomes}, file)
