# Interpreters started by others: each must find a working lock.
import os
import subprocess
import sys

CODE = "import multiprocessing as m; l = m.get_context('spawn').Lock(); l.acquire(); l.release()"

if __name__ == "__main__":
    subprocess.run([sys.executable, "-c", CODE], check=True)
    assert os.system(f'"{sys.executable}" -c "{CODE}"') == 0
    replace = f"import os, sys; os.execv(sys.executable, [sys.executable, '-c', {CODE!r}])"
    subprocess.run([sys.executable, "-c", replace], check=True)
    sys.exit(7)
