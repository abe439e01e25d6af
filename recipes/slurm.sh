#!/usr/bin/env bash
# Pretraining on several nodes of 8 GPUs each. From the directory that holds .venv:
#
#   sbatch --nodes 4 recipes/slurm.sh my.toml --out /shared/runs/mine
#
# The run directory must be on a file system that every node sees. Before the time is up each process is told, and all
# leave one checkpoint; the same command goes on from it. To queue a week of days at once, submit it seven times with
# --dependency=singleton.
#SBATCH --job-name=cutaway
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

source .venv/bin/activate
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# Eight processes share a node's cores.
export OMP_NUM_THREADS=$((SLURM_CPUS_PER_TASK / 8))

# Where a node has several networks, NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME name the one to use.
srun --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" torchrun \
  --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node 8 \
  --rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "$head:29500" \
  -m cutaway pretrain "$@"
