import os
import subprocess
import sys
import tempfile

SETTINGS = """
SECRET_KEY = "x"
INSTALLED_APPS = ["app"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
"""
TESTS = "from django.test import TestCase\n" + "".join(
    f"class Test{n}(TestCase):\n    def test_it(self): self.assertEqual({n}, {n})\n"
    for n in range(4)
)

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/app")
        for name, text in (("settings", SETTINGS), ("app/__init__", ""), ("app/tests", TESTS)):
            with open(f"{folder}/{name}.py", "w") as file:
                file.write(text)
        env = {**os.environ, "DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": folder}
        words = [sys.executable, "-m", "django", "test", "--parallel", "2"]
        done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0 and "Ran 4 tests" in done.stderr, done.stderr
    print("ok")
