"""PyTorch in short: a DataLoader, queues and shared tensors by both strategies, under fork."""

import sys

import torch
import torch.multiprocessing as mp
from torch.utils.data import DataLoader, TensorDataset


def send(queue, tensor, done):
    tensor += 1
    queue.put(torch.full((1000,), 2.0))
    done.wait(30)


if __name__ == "__main__":
    dataset = TensorDataset(torch.arange(64.0).repeat(1 << 14, 1).T.contiguous())
    loader = DataLoader(dataset, batch_size=4, num_workers=2, multiprocessing_context="fork")
    assert sum(float(batch[:, 0].sum()) for (batch,) in loader) == sum(range(64))
    context = mp.get_context("fork")
    for strategy in sys.argv[1:]:
        mp.set_sharing_strategy(strategy)
        queue, done, tensor = context.Queue(), context.Event(), torch.zeros(1000)
        view = tensor[10:20]
        tensor.share_memory_()
        child = context.Process(target=send, args=(queue, tensor, done))
        child.start()
        assert float(queue.get(timeout=15).sum()) == 2000.0
        done.set()
        child.join()
        assert (float(tensor.sum()), float(view.sum())) == (1000.0, 10.0)
    print("ok")
