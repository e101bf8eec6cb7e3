"""A command over a few files that it is given: `command.py MODULE WORDS...`, FILES is for these."""

import subprocess
import sys
import tempfile

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for number in range(6):
            with open(f"{folder}/test_{number}.py", "w") as file:
                file.write('"""A module."""\n\n\ndef test_it():\n    """One."""\n    assert 1\n')
        with open(f"{folder}/.coveragerc", "w") as file:
            file.write("[run]\nconcurrency = multiprocessing\nparallel = true\n")
        with open(f"{folder}/conf.py", "w") as file:
            file.write('project = "x"\n')
        for number in range(12):
            with open(f"{folder}/page{number}.rst", "w") as file:
                file.write(f"Page {number}\n=======\n\nText.\n")
        with open(f"{folder}/index.rst", "w") as file:
            file.write("Index\n=====\n\n.. toctree::\n\n")
            file.writelines(f"   page{number}\n" for number in range(12))
        files = [f"{folder}/test_{number}.py" for number in range(6)]
        words = []
        for word in sys.argv[1:]:
            words += files if word == "FILES" else [word.replace("FOLDER", folder)]
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        print(said.strip().splitlines()[-1] if said.strip() else "")
    print("ok")
