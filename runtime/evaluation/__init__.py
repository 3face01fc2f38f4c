"""Evaluation: questions with known answers, what a model makes of them, and two such runs side by side."""
