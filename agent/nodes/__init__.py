"""The nodes of the plan-execute graph, one file a node, and what they share: plan validation and the end of a run."""
