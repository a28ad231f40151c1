"""The command `plan-execute`: what it reads, asks, shows and prints."""
