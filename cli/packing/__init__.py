"""What `dagger-edge pack` puts together. Nothing of the runtime knows of it: it is for the machine with a network."""
