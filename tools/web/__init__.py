"""Search of the web, and reading of its pages."""
