"""The leaderboard: rows from run folders, and a static site drawn from the rows."""
