"""The demo: a real story, ten weeks of trading in fast motion, and what comes of it."""
