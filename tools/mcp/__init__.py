"""The tools of MCP servers (Model Context Protocol): started, called, and kept within bounds."""
