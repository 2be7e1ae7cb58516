"""What a learning curve says: rates by amount, a verdict, how it may go on."""
