"""What verbs set in motion: runs, suites, ablations, trainings, the demo, a user's video, and data that is missing."""
