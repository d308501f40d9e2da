"""The evaluation server: submissions scored against labels that only its host has; needs the extra `server`."""
