"""How a model is found, asked, read and paid."""
