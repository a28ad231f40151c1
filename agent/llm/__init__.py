"""How a model is found, called, read and paid for."""
