import dask
import dask.bag

if __name__ == "__main__":
    bag = dask.bag.from_sequence(range(100), npartitions=4).map(lambda number: number * number)
    with dask.config.set(scheduler="processes", num_workers=2):
        assert bag.sum().compute() == sum(n * n for n in range(100))
    print("ok")
