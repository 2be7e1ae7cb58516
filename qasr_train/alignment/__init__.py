"""When the words of a known text were said: any text over any recording, how sure, and how right."""
