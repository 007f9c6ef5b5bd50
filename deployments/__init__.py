"""What surrounds the deployments: automations, blocks, work pools, applied idempotently."""
