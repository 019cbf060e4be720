"""What runs a stage and knows how far it is: the entry of all stages, their table, logs, restarts, SLURM."""
