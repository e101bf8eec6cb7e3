import sys
from multiprocessing import Pool, Value

from tqdm import tqdm
from tqdm.contrib.concurrent import process_map


def square(x):
    return x * x


if __name__ == "__main__":
    counter = Value("i", 0)
    with Pool(2) as pool, tqdm(total=8, file=sys.stdout) as bar:
        for _ in pool.imap_unordered(square, range(8)):
            with counter.get_lock():
                counter.value += 1
            bar.update()
    assert counter.value == 8
    assert process_map(square, range(4), max_workers=2, file=sys.stdout) == [0, 1, 4, 9]
    sys.exit(7)
