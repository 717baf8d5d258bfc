"""Jobs that go through several steps: the next model, a further turn, a sample that both models are asked."""
