"""AWS sessions from Prefect's AwsCredentials block, with credentials that are renewed while a run lasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from groundwork.errors import SettingMissing

if TYPE_CHECKING:
    from botocore.session import Session
    from prefect_aws import AwsCredentials


def aws_session(block: AwsCredentials) -> Session:
    """A botocore session that signs in as the block says.

    The block's own ``get_boto3_session`` assumes a role once, and a copy of a role's keys is valid for an
    hour or less. Here botocore keeps the way to the credentials, and renews them before they expire.

    Returns:
        A session with the block's keys or profile, or else with what botocore finds (environment, container,
        instance); under the block's role when it names one.

    Raises:
        SettingMissing: when there is nothing to assume that role with.
    """
    from botocore.session import Session

    session = Session(profile=block.profile_name)
    if block.region_name:
        session.set_config_variable("region", block.region_name)
    if block.aws_access_key_id and block.aws_secret_access_key:
        secret = block.aws_secret_access_key.get_secret_value()
        session.set_credentials(block.aws_access_key_id, secret, block.aws_session_token)
    return _in_role(session, block, block.assume_role_arn) if block.assume_role_arn else session


def _in_role(session: Session, block: AwsCredentials, role: str) -> Session:
    """A session in the block's role, whose credentials come from another session."""
    from botocore.credentials import (
        AssumeRoleCredentialFetcher,
        CredentialProvider,
        CredentialResolver,
        DeferredRefreshableCredentials,
    )
    from botocore.session import Session

    source = session.get_credentials()
    if source is None:
        raise SettingMissing(
            f"role '{role}'",
            "cannot be assumed",
            why="neither the block nor the environment has AWS credentials to assume it with",
            fix="add keys to the Prefect block, or run where a role or AWS_ACCESS_KEY_ID is set",
        )
    fetcher = AssumeRoleCredentialFetcher(
        client_creator=session.create_client,
        source_credentials=source,
        role_arn=role,
        extra_args=block.assume_role_kwargs.get_params_override(),
    )

    class AssumeRole(CredentialProvider):
        METHOD = "assume-role"

        def load(self) -> Any:
            return DeferredRefreshableCredentials(fetcher.fetch_credentials, self.METHOD)

    inner = Session()
    if region := session.get_config_variable("region"):
        inner.set_config_variable("region", region)
    inner.register_component("credential_provider", CredentialResolver([AssumeRole()]))
    return inner
