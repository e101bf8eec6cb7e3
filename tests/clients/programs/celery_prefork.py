import os
import subprocess
import sys
import tempfile

import celery

FOLDER = os.environ.setdefault("CELERY_FOLDER", tempfile.mkdtemp())
app = celery.Celery("celery_prefork", broker="filesystem://", backend=f"file://{FOLDER}/results")
app.conf.broker_transport_options = {
    "data_folder_in": f"{FOLDER}/queue",
    "data_folder_out": f"{FOLDER}/queue",
    "control_folder": f"{FOLDER}/control",
}


@app.task(name="double")
def double(number):
    return 2 * number, os.getpid()


if __name__ == "__main__":
    for name in ("results", "queue", "control"):
        os.makedirs(f"{FOLDER}/{name}", exist_ok=True)
    words = [sys.executable, "-m", "celery", "-A", "celery_prefork", "worker"]
    words += ["-P", "prefork", "-c", "2", "-l", "WARNING"]
    worker = subprocess.Popen(words, cwd=os.path.dirname(os.path.abspath(__file__)))
    try:
        answers = [double.delay(number).get(timeout=30) for number in range(4)]
        assert [answer[0] for answer in answers] == [0, 2, 4, 6]
        assert worker.pid not in {answer[1] for answer in answers}
    finally:
        worker.terminate()
        worker.wait()
    print("ok")
