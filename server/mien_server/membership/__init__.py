"""Who belongs: invitations, the roll of enrolled and revoked sites, and how they stand."""
