"""Long runs in which processes are killed. The suite has a short one of each."""
