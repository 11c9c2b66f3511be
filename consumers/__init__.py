"""What runs for ever: the engine, the projector, the gateway and the timer."""
