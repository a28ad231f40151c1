"""What contains a run: kinds of tools, typed values, and references to them in calls that the plan pins."""
