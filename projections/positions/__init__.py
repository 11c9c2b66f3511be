"""The read model `positions`: holdings, cost basis and profits; and the leaderboard, which sums the profits."""
