"""What an emulator's owner sets and takes of tokens: how long they are good, and what a workload proves its identity with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.tokens import SYSTEM_ASSIGNED_CLIENT_ID, TENANT_ID

if TYPE_CHECKING:
    import os

    from fastapi_azure_pool.emulator.server import LoopbackServer
    from fastapi_azure_pool.emulator.tokens import TokenIssuer


class WorkloadIdentity:
    """The part of an Emulator that is about tokens' lives, and about Entra ID's token endpoint, which is served over TLS only."""

    _tokens: TokenIssuer
    _entra: LoopbackServer | None

    def set_token_lifetime(self, seconds: float | None = None, *, refresh_in: float | None = None) -> None:
        """Set how long tokens are good that are given from now on.

        Args:
            seconds: More than 0; None for 24 hours, which is a managed identity's.
            refresh_in: After how many seconds clients are told to ask for the next one, more than 0; None tells them nothing, and
                azure-identity takes half of a life of two hours or more, and else asks in the last five minutes.

        Raises:
            ValueError: A value is out of its bounds.
        """
        for name, value in (("seconds", seconds), ("refresh_in", refresh_in)):
            if value is not None and not value > 0:
                raise ValueError(f"{name}={value} must be more than 0")
        self._tokens.set_lifetime(seconds, refresh_in)

    @property
    def tenant_id(self) -> str:
        """The tenant that tokens are of, for ``AZURE_TENANT_ID``."""
        return TENANT_ID

    @property
    def entra_authority(self) -> str:
        """The URL of Entra ID, for ``AZURE_AUTHORITY_HOST``; azure-identity takes none but https.

        Raises:
            RuntimeError: The emulator is without TLS, or has no ports yet.
        """
        if self._entra is None:
            raise RuntimeError("Entra ID is served over TLS only: write Emulator(tls=True)")
        return self._entra.url.rstrip("/")

    def issue_federated_token(self, *, lifetime: float | None = None) -> str:
        """Return what a Kubernetes cluster writes into a pod's file, for a workload to send to Entra ID.

        Args:
            lifetime: For how many seconds it is good; default an hour, negative for one that has expired.
        """
        return self._tokens.issue_federated(lifetime=lifetime)

    def workload_environment(self, token_file: str | os.PathLike[str]) -> dict[str, str]:
        """Return the environment variables with which azure-identity's WorkloadIdentityCredential finds Entra ID.

        It verifies the certificate: make it with ``connection_verify=`` the name of a file that holds ``azure.certificate``, or
        start the process with ``SSL_CERT_FILE`` set to one.

        Args:
            token_file: The file that holds what `issue_federated_token` gave.
        """
        return {
            "AZURE_AUTHORITY_HOST": self.entra_authority,
            "AZURE_CLIENT_ID": SYSTEM_ASSIGNED_CLIENT_ID,
            "AZURE_FEDERATED_TOKEN_FILE": str(token_file),
            "AZURE_TENANT_ID": self.tenant_id,
        }
