"""PyTorch: tensors through queues, and shared: by the strategy named, under fork and spawn."""

import sys

import torch
import torch.multiprocessing as mp

STRATEGY = sys.argv[1]


def send(queue, done):
    mp.set_sharing_strategy(STRATEGY)
    for number in range(5):
        queue.put(torch.full((1000,), float(number)))
    queue.put(torch.empty(0))
    done.wait(30)


def add(tensor):
    tensor += 1


def add_ranked(rank, tensor):
    tensor[rank] += 1


if __name__ == "__main__":
    mp.set_sharing_strategy(STRATEGY)
    for method in ("fork", "spawn"):
        context = mp.get_context(method)
        queue, done = context.Queue(), context.Event()
        child = context.Process(target=send, args=(queue, done))
        child.start()
        assert sum(float(queue.get(timeout=15)[0]) for _ in range(5)) == 10
        assert queue.get(timeout=15).numel() == 0
        done.set()
        child.join()
        tensor = torch.zeros(1000)
        view = tensor[10:20]
        tensor.share_memory_()
        child = context.Process(target=add, args=(tensor,))
        child.start()
        child.join()
        assert child.exitcode == 0
        assert (float(tensor.sum()), float(view.sum())) == (1000.0, 10.0)
    tensor = torch.zeros(2).share_memory_()
    mp.spawn(add_ranked, (tensor,), nprocs=2)
    assert tensor.tolist() == [1.0, 1.0]
    print("ok")
