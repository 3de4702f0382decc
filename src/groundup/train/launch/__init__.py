"""One training job in the forms that start it: torchrun here, a Slurm script, a Kubernetes job."""
