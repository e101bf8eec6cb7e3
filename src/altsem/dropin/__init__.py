"""The drop-in: altsem in the place of what fails here.

An interpreter imports this file as it starts where `python -m altsem enable` was run: it imports
nothing.
"""

# The name of the package that this one is part of: another one than "altsem" in a vendored copy.
ROOT = __name__.rpartition(".")[0]
# What descendants are told: the name of this package, then the parts that were replaced.
VARIABLE = "ALTSEM_DROPIN"
