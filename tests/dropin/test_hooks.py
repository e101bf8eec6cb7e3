"""Acting when a module is imported, beside others who do the same: nobody's hook is lost."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

import dropin_support as dropin
from altsem.dropin import hooks
from conftest import Script


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = "a_module_for_the_hooks"
    (tmp_path / f"{name}.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def finders() -> list[object]:
    return [finder for finder in sys.meta_path if isinstance(finder, hooks._Finder)]


def test_a_hook_is_called_once_after_the_module_and_leaves_no_trace(module: str) -> None:
    before, seen = list(sys.meta_path), []
    hooks.when_imported(module, lambda: seen.append(sys.modules[module].value))
    assert not seen and len(finders()) >= 1
    imported = __import__(module)
    assert seen == [1]
    assert "altsem" not in repr(imported.__spec__) and "altsem" not in repr(imported.__loader__)
    assert sys.meta_path == before
    hooks.when_imported(module, lambda: seen.append(2))  # it is there already
    assert seen == [1, 2]
    del sys.modules[module]


def test_a_hook_for_what_is_not_there_does_not_make_it_be_there() -> None:
    def callback() -> None:
        raise AssertionError

    hooks.when_imported("no_such_module_at_all", callback)
    with pytest.raises(ModuleNotFoundError):
        __import__("no_such_module_at_all")
    hooks.forget("no_such_module_at_all", callback)


def test_a_hook_that_is_forgotten_is_not_called(module: str) -> None:
    before = list(sys.meta_path)

    def callback() -> None:
        raise AssertionError

    hooks.when_imported(module, callback)
    hooks.forget(module, callback)
    assert sys.meta_path == before
    __import__(module)
    del sys.modules[module]


# --- beside others ------------------------------------------------------------------------------


TOGETHER = """
import importlib, importlib.machinery, importlib.util, itertools, pathlib, sys, wrapt

folder = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(folder))
copies = [
    importlib.import_module(f"{root}.dropin.hooks")
    for root in ("altsem", "acme.one.altsem", "acme.two.altsem")
]

class Lazy:
    '''Has modules executed at the first look into them.'''
    searching = False
    def find_spec(self, name, path=None, target=None):
        if not name.startswith("throwaway") or self.searching:
            return None
        self.searching = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.searching = False
        spec.loader = importlib.util.LazyLoader(spec.loader)
        return spec

class Naive:
    '''Asks every finder but itself.'''
    def find_spec(self, name, path=None, target=None):
        if not name.startswith("throwaway"):
            return None
        for finder in sys.meta_path:
            if finder is not self:
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    return spec
        return None

usual = list(sys.meta_path)
numbers = itertools.count()

def meet(order):
    '''The finders of all of them, in this order, find a module; whose hook was called, and when.'''
    name = f"throwaway{next(numbers)}"
    (folder / f"{name}.py").write_text("begun = True\\nended = True\\n")
    importlib.invalidate_caches()
    calls = []
    def note(who):
        calls.append((who, "ended" in object.__getattribute__(sys.modules[name], "__dict__")))
    for number, copy in enumerate(copies):
        copy.when_imported(name, lambda who=f"copy{number}": note(who))
    wrapt.register_post_import_hook(lambda module: note("wrapt"), name)
    found = {f"copy{number}": copy._finder for number, copy in enumerate(copies)}
    found["wrapt"] = next(f for f in sys.meta_path if type(f).__name__ == "ImportHookFinder")
    found.update(lazy=Lazy(), naive=Naive())
    sys.meta_path[:] = [*(found[who] for who in order), *usual]
    module = importlib.import_module(name)
    early = list(calls)
    assert module.ended
    sys.meta_path[:] = [found["wrapt"], *usual]
    return name, early, calls
"""


def test_hooks_of_others_and_of_copies_are_all_called_in_whatever_order(
    tmp_path: Path, run_script: Script
) -> None:
    code = TOGETHER + textwrap.dedent(
        """
        everybody = ("copy0", "copy1", "copy2", "wrapt")
        for others in ((), ("naive",)):
            for order in itertools.permutations((*everybody, *others)):
                name, early, calls = meet(order)
                assert sorted(calls) == sorted((who, True) for who in everybody), (order, calls)
                assert early == calls
                loader = sys.modules[name].__spec__.loader
                assert "altsem" not in type(loader).__module__, (order, loader)
        """
    )
    done = run_script(code, tmp_path, env=dropin.vendor(tmp_path, "one", "two"))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_module_that_a_lazy_loader_puts_off_is_waited_for_in_whatever_order(
    tmp_path: Path, run_script: Script
) -> None:
    code = TOGETHER + textwrap.dedent(
        """
        for order in itertools.permutations(("copy0", "copy1", "copy2", "wrapt", "lazy")):
            name, early, calls = meet(order)
            everybody = ("copy0", "copy1", "copy2", "wrapt")
            assert sorted(calls) == sorted((who, True) for who in everybody), (order, calls)
            # wrapt itself looks into a module that it is told has been loaded.
            if order.index("lazy") < order.index("wrapt"):
                assert early == [], (order, early)
        """
    )
    done = run_script(code, tmp_path, env=dropin.vendor(tmp_path, "one", "two"))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_module_that_is_lazy_already_is_not_executed_by_waiting_for_it(
    tmp_path: Path, run_script: Script
) -> None:
    # The recipe of the standard library's documentation, before us; and a lazy path hook, after us.
    code = textwrap.dedent(
        """
        import importlib.machinery, importlib.util, pathlib, sys
        from altsem.dropin import hooks
        folder = pathlib.Path(sys.argv[1])
        for name in ("first", "second"):
            (folder / f"{name}_lazy.py").write_text("print(__name__)\\n")
        def looked(module):
            return module.__name__
        calls = []
        sys.path.insert(0, str(folder))
        spec = importlib.util.find_spec("first_lazy")
        spec.loader = loader = importlib.util.LazyLoader(spec.loader)
        first = sys.modules["first_lazy"] = importlib.util.module_from_spec(spec)
        loader.exec_module(first)
        machinery = importlib.machinery
        lazily = importlib.util.LazyLoader.factory(machinery.SourceFileLoader), [".py"]
        sys.path_hooks.insert(0, machinery.FileFinder.path_hook(lazily))
        sys.path_importer_cache.clear()
        for name in ("first", "second"):
            hooks.when_imported(f"{name}_lazy", lambda name=name: calls.append(name))
        import second_lazy
        assert calls == [] and len(hooks._waiting) >= 2, calls
        assert looked(first) and calls == ["first"], calls
        assert looked(second_lazy) and calls == ["first", "second"], calls
        """
    )
    done = run_script(code, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "first_lazy\nsecond_lazy\n", "")


@pytest.mark.parametrize("names", [("one",), ("one", "two")], ids=["two copies", "three copies"])
def test_copies_in_one_process_import_multiprocessing_and_register_their_contexts(
    names: tuple[str, ...], tmp_path: Path, run_script: Script
) -> None:
    roots = ["altsem", *(f"acme.{name}.altsem" for name in names)]
    code = textwrap.dedent(
        f"""
        import importlib, sys
        for root in {roots}:
            importlib.import_module(f"{{root}}.dropin.startup").auto()
        import multiprocessing
        for root in {roots}:
            lock = multiprocessing.get_context(root).Lock()
            assert type(lock).__module__ == f"{{root}}.synchronize"
            with lock: pass
        """
    )
    done = run_script(code, env=dropin.vendor(tmp_path, *names))
    assert (done.returncode, done.stderr) == (0, "")


@dropin.needs_native
def test_under_run_wrapt_still_sees_multiprocessing_be_imported(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, wrapt\n"
        "seen = []\n"
        "for name in ('multiprocessing', 'multiprocessing.heap', '_posixshmem'):\n"
        "    wrapt.register_post_import_hook(lambda module: seen.append(module.__name__), name)\n"
        "import multiprocessing.heap, _posixshmem, _multiprocessing\n"
        "print(sorted(seen), _multiprocessing.SemLock.__module__)\n"
    )
    done = dropin.run(sys.executable, "-m", "altsem", "run", "--force", program)
    expected = "['_posixshmem', 'multiprocessing', 'multiprocessing.heap'] altsem._core\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")
