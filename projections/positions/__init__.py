"""The read model `positions`: holdings, cost basis, profits; and the leaderboard that is read from their sums."""
