"""The demo model: a small Gemma 3 trained here on generated Bengali word problems."""
