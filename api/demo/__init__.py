"""The demo: ten weeks of trading on a real story, in fast motion. `run` starts it, `play` plays it, `show` prints it."""
