"""Files that go to Claude whole: what they are, what is wrong with them, and how they reach the API."""
