"""Stored threads: where they are kept, what is in them, branching one off, and locking one for a single run."""
