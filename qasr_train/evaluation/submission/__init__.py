"""What a public leaderboard takes of a scored run."""
