"""What `conceptreel ablate --method pcmci` compares."""
