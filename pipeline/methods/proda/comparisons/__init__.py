"""What `conceptreel ablate --method proda` compares."""
