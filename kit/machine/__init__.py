"""What the machine is, how busy others keep it, and the processes on it."""
