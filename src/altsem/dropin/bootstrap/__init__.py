"""A directory for PYTHONPATH: what matters is sitecustomize.py.

It is a package, although nobody imports it as one, lest packaging tools leave it out of a copy.
"""
