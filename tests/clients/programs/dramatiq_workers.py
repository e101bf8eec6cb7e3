import os
import signal
import subprocess
import sys

import dramatiq
from dramatiq.brokers.stub import StubBroker

dramatiq.set_broker(StubBroker())


@dramatiq.actor
def nothing():
    pass


if __name__ == "__main__":
    words = [sys.executable, "-m", "dramatiq", "dramatiq_workers", "--processes", "2"]
    words += ["--threads", "1"]
    worker = subprocess.Popen(
        words,
        cwd=os.path.dirname(os.path.abspath(__file__)),
        stderr=subprocess.PIPE,
        text=True,
    )
    ready, said = 0, ""
    for line in worker.stderr:
        said += line
        ready += "is ready for action" in line
        if ready == 2:
            worker.send_signal(signal.SIGTERM)
            break
    worker.communicate(timeout=30)
    assert ready == 2, said
    print("ok")
