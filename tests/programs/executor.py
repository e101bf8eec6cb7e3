import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor


def square(x):
    return x * x


if __name__ == "__main__":
    for method in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(2, mp_context=context) as executor:
            assert list(executor.map(square, range(4))) == [0, 1, 4, 9], method
    sys.exit(7)
