"""From a method to scores: the two loops in their parts."""
