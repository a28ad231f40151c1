"""One milestone: from its brief through the ReAct loop to its report."""
