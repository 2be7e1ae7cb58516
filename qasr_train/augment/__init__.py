"""Changes to sound that make a model stand what it will meet: noise, rooms, telephones, gaps."""
