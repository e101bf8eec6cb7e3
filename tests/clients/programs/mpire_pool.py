from mpire import WorkerPool


def square(number):
    return number * number


if __name__ == "__main__":
    with WorkerPool(2) as pool:
        assert pool.map(square, range(20)) == [n * n for n in range(20)]
    print("ok")
