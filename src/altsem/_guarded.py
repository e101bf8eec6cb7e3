"""Where multiprocessing, and copies of it, use locks in a way that has to know when they are
robust: (module, class, name).  What belongs there: context/robust.py."""

QUEUES = (
    ("queues", "Queue", "_poll"),
    ("queues", "Queue", "_recv_bytes"),
    ("queues", "Queue", "_send_bytes"),
    ("queues", "Queue", "put"),
    ("queues", "JoinableQueue", "put"),
    ("queues", "SimpleQueue", "get"),
    ("queues", "SimpleQueue", "put"),
    ("pool", "Pool", "_setup_queues"),
)
# Of the drop-in only: the classes of the contexts make robust locks themselves.
LOCKS = (
    ("synchronize", "Lock", "__init__"),
    ("synchronize", "RLock", "__init__"),
)
