#!/bin/bash
#SBATCH --job-name=karmma
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --requeue
# One torchrun per node; a job that is requeued goes on where it stopped. An example: it was not run on a cluster.
# sbatch scripts/slurm_example.sh recipes/karmma_epic100.yaml /shared/runs/epic100 data.root=/shared/EPIC-KITCHENS
set -euo pipefail
RECIPE=$1 OUT=$2
shift 2
HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun torchrun --nnodes="$SLURM_NNODES" --nproc-per-node="$SLURM_GPUS_ON_NODE" \
    --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d --rdzv-endpoint="$HEAD:29500" \
    -m karmma.cli run "$RECIPE" --out "$OUT" "$@"
