"""Measurements of the suite itself: how fast it scores beside its peers, and what its intervals and tests hold."""
