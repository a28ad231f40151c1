"""The agent as a server of MCP (Model Context Protocol), for Claude, Cursor and other clients."""
