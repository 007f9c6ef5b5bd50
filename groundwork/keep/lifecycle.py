"""Rules by which S3 itself may tidy the bucket, written so that nothing a replay needs ever goes.

What is committed never expires, and never moves to where it takes hours to read. What may go: half-done
uploads, versions that were replaced, and dbt's artifacts after a year. docs/retention.md
"""

from __future__ import annotations

from typing import Any

VERSIONS_DAYS = 30
"""How long a replaced version can be brought back; what is erased goes at once, with all its versions."""
ARTIFACTS_DAYS = 400
COLD_AFTER_DAYS = 90


def rules(prefix: str = "", *, cold: bool = False) -> dict[str, Any]:
    """A lifecycle configuration as S3 takes it.

    Args:
        prefix: of the platform in the bucket, as in GROUNDWORK_BUCKET.
        cold: also move data objects to a cheaper class that is read as fast (GLACIER_IR); only where
            a replay is rare, because reading costs more there.
    """
    root = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    # A day's artifacts begin with its year; what lies beside them (manifest.json) is the newest, and stays.
    dated = {"dbt-artifacts": f"{root}artifacts/dbt/2"}
    found: list[dict[str, Any]] = [
        {
            "ID": "groundwork-leftovers",
            "Status": "Enabled",
            "Filter": {"Prefix": root},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
            "NoncurrentVersionExpiration": {"NoncurrentDays": VERSIONS_DAYS},
        },
        *(
            {
                "ID": f"groundwork-{name}",
                "Status": "Enabled",
                "Filter": {"Prefix": place},
                "Expiration": {"Days": ARTIFACTS_DAYS},
            }
            for name, place in dated.items()
        ),
    ]
    if cold:
        found.append(
            {
                "ID": "groundwork-cold",
                "Status": "Enabled",
                # Small objects cost more there than they save; compaction makes large ones first.
                "Filter": {"And": {"Prefix": root, "ObjectSizeGreaterThan": 1 << 20}},
                "Transitions": [{"Days": COLD_AFTER_DAYS, "StorageClass": "GLACIER_IR"}],
            }
        )
    return {"Rules": found}
