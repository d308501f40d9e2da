"""What verbs set in motion: matrices of runs, ablations, the demo, and data and weights that have to be made first."""
