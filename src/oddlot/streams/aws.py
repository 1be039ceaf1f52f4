"""Clients of AWS, and what its refusals mean in one line each."""

from __future__ import annotations

import functools
import re
from typing import Any

import msgspec

from oddlot.errors import ConfigError, OddlotError, StreamError

# What passes by itself, if one waits: too fast, busy, or changing just now.
_PASSING = re.compile(
    r"Throttl|ThroughputExceeded|LimitExceeded|TooManyRequests|SlowDown|BandwidthLimit"
    r"|InternalFailure|InternalServer|InternalError|ServiceUnavailable|ServerBusy|RequestTimeout\Z"
    r"|ResourceInUse|OperationAborted|PriorRequestNotComplete"
)
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_DENIED = re.compile(
    r"AccessDenied|Unauthorized|AuthorizationError|Forbidden|NotAuthorized|\A403\Z"
)
_UNKNOWN = {
    *("InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"),
    *("MissingAuthenticationToken", "MissingAuthenticationTokenException", "InvalidToken"),
    *("SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature"),
}
_SKEWED = re.compile(r"Signature (expired|not yet current)", re.IGNORECASE)
_MISSING = re.compile(r"NotFound|NoSuch|NonExistent|DoesNotExist|\A404\Z")
_ELSEWHERE = {
    *("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
    *("301", "InvalidLocationConstraint"),
}
_KEYS = re.compile(r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{8,}\b|\b[A-Za-z0-9/+=]{40,}(?![\w.:/-])")
_HOW_TO_LOG_IN = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile, or run where a role is"
)


class Access(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where AWS is called, and as whom; what is empty is found as boto3 finds it.

    Attributes:
        region: such as eu-west-1.
        endpoint: URL instead of AWS's own, such as a server on loopback.
        profile: of the AWS configuration files.
        role: ARN of a role to take on; taken on again before it runs out.
        external_id: what the role's owner asks for.
        sts_endpoint: URL of STS for that instead of AWS's own.
        key_id: a key in plain, where a configuration of the Kinesis Agent holds one.
        secret: the secret of that key; never shown.
    """

    region: str = ""
    endpoint: str = ""
    profile: str = ""
    role: str = ""
    external_id: str = ""
    sts_endpoint: str = ""
    key_id: str = ""
    secret: str = ""

    def __repr__(self) -> str:
        """Show everything but the secret."""
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        shown["secret"] = "..." if self.secret else ""
        return f"Access({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def client(service: str, access: Access, **botocore_config: Any) -> Any:
    """Make a boto3 client; calls nothing yet.

    Args:
        service: boto3's name, such as "kinesis".
        access: where, and as whom.
        botocore_config: options of botocore.config.Config over the defaults here.

    Raises:
        ConfigError: boto3 is not installed, or region, profile or endpoint is missing or wrong.
    """
    try:
        from boto3.session import Session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise ConfigError("boto3 is not installed: pip install oddlot[aws]") from None
    options: dict[str, Any] = {
        "connect_timeout": 5,
        "read_timeout": 30,
        "retries": {"mode": "standard", "total_max_attempts": 3},
        "user_agent_extra": "oddlot",
    }
    if service == "s3" and access.endpoint:
        options["s3"] = {"addressing_style": "path"}  # a server on loopback has no wildcard name
    try:
        if access.role:
            session = Session(botocore_session=_take_on(access), region_name=access.region or None)
        else:
            session = Session(
                aws_access_key_id=access.key_id or None,
                aws_secret_access_key=access.secret or None,
                profile_name=access.profile or None,
                region_name=access.region or None,
            )
        return session.client(
            service,
            endpoint_url=access.endpoint or None,
            config=Config(**options | botocore_config),
        )
    except (BotoCoreError, ValueError) as error:
        raise _understand(error) from None


def refusal(place: str, error: Exception) -> OddlotError:
    """Say in one line what AWS, or the way to it, refused; to be raised by the caller.

    Args:
        place: what the line begins with, such as "shop.toml: source: stream orders".
        error: from a call of a client; one of boto3's or of Oddlot's.

    Returns:
        ConfigError if somebody must change something first, StreamError if it can pass by itself.

    Raises:
        Exception: the error itself, where it is none of these: a bug.
    """
    understood = _understand(error)
    return type(understood)(f"{place}: {understood}")


def _take_on(access: Access) -> Any:
    """Return settings of botocore whose credentials are the role's, taken on when they are due."""
    from botocore import credentials, session

    own = session.Session(profile=access.profile or None)
    if access.key_id:
        own.set_credentials(access.key_id, access.secret)

    class Role(credentials.CredentialProvider):  # type: ignore[misc]  # botocore has no types
        METHOD = CANONICAL_NAME = "oddlot-role"

        def load(self) -> Any:
            source = own.get_credentials()
            if source is None:
                return None
            fetcher = credentials.AssumeRoleCredentialFetcher(
                functools.partial(
                    own.create_client,
                    region_name=access.region or None,
                    endpoint_url=access.sts_endpoint or None,
                ),
                source,
                access.role,
                extra_args={"ExternalId": access.external_id} if access.external_id else None,
            )
            return credentials.DeferredRefreshableCredentials(
                fetcher.fetch_credentials, self.METHOD
            )

    settings = session.Session(profile=access.profile or None)
    settings.register_component("credential_provider", credentials.CredentialResolver([Role()]))
    return settings


def _understand(error: Exception) -> OddlotError:
    from botocore import exceptions as kinds

    if isinstance(error, OddlotError):
        return error
    if isinstance(error, kinds.ClientError):
        return _understand_answer(error)
    text = _clean(str(error))
    if isinstance(error, kinds.NoCredentialsError | kinds.PartialCredentialsError):
        return ConfigError(f"no credentials for AWS were found: {_HOW_TO_LOG_IN}")
    if isinstance(error, kinds.NoRegionError):
        return ConfigError("region must be set, such as eu-west-1; got nothing")
    if isinstance(error, kinds.ProfileNotFound):
        return ConfigError(f"profile must be one of the AWS configuration; got {text}")
    if isinstance(
        error,
        kinds.SSOError | kinds.TokenRetrievalError | kinds.CredentialRetrievalError
        | kinds.UnauthorizedSSOTokenError | kinds.MetadataRetrievalError,
    ):  # fmt: skip
        return StreamError(f"credentials for AWS cannot be had at present: {text}")
    if isinstance(
        error, kinds.ConnectionError | kinds.HTTPClientError | kinds.IncompleteReadError
        | kinds.ResponseStreamingError,
    ):  # fmt: skip
        return StreamError(f"AWS cannot be reached; check network, region and endpoint: {text}")
    if isinstance(error, kinds.BotoCoreError | ValueError):
        return ConfigError(text)
    if isinstance(error, OSError):
        return StreamError(f"AWS cannot be reached; check network, region and endpoint: {text}")
    raise error


def _understand_answer(error: Any) -> OddlotError:
    """Say what an answer that is a refusal means."""
    answer = error.response.get("Error", {})
    code, said = str(answer.get("Code", "")), str(answer.get("Message", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    text = f"{_clean(said)} ({code})" if said else code
    if code in _EXPIRED:
        return StreamError(f"the credentials for AWS have expired ({code}): renew them")
    if code == "RequestTimeTooSkewed" or _SKEWED.search(said):
        return StreamError(f"this machine's clock must be right; AWS refuses the time ({code})")
    if code in _UNKNOWN:
        # Its text may quote what was signed.
        return ConfigError(f"the credentials must be valid here; AWS does not take them ({code})")
    if code in _ELSEWHERE:
        return ConfigError(f"region must be the one where it is; got another: {text}")
    if _PASSING.search(code) or status >= 500:
        return StreamError(f"AWS cannot do it just now, try again: {text}")
    if _DENIED.search(code):
        needed = re.search(r"perform:? ([\w-]+:\w+)", said)
        action = needed[1] if needed else error.operation_name
        return ConfigError(
            f"may not call {action}; give this user or role that permission ({code})"
        )
    if _MISSING.search(code):
        return ConfigError(f"must be there, in this account and region; got: {text}")
    return ConfigError(f"AWS refuses {error.operation_name}: {text}")


def _clean(text: str) -> str:
    """Make one line of a text, without what could be a key."""
    return _KEYS.sub("...", " ".join(text.split()))[:300]
