"""The rules of the Open ASR Leaderboard after August 2026, a module a language."""
