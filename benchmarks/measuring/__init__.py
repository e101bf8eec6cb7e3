"""How a pair of rounds is measured, and what a row of such pairs says."""
