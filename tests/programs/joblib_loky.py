import os
import sys

from joblib import Parallel, delayed


def square(x):
    return x * x, os.getpid()


if __name__ == "__main__":
    results = Parallel(n_jobs=2, backend="loky")(delayed(square)(i) for i in range(8))
    assert [value for value, _ in results] == [i * i for i in range(8)]
    assert os.getpid() not in {pid for _, pid in results}, "it ran in serial mode"
    sys.exit(7)
