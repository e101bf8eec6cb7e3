"""Programs that the doctor runs in interpreters of their own.

Run by path, not by name, so that nothing of altsem is imported in those that look at what
multiprocessing does without it.  Each takes one argument, its order as JSON, and prints one line of
JSON: {"value": ...} or {"error": "OSError: [Errno 38] ...", "errno": 38}.
"""
