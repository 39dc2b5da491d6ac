"""How a site may be called; both sides check it, and it loads in no time."""

from typing import Annotated, Final

from pydantic import Field

SITE_NAME_PATTERN: Final = r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$"
"""Site names are host-name labels: lower case letters, digits and inner dashes, at most 32."""

SiteName = Annotated[str, Field(pattern=SITE_NAME_PATTERN)]
