"""PostgREST in Python: Supabase's `/rest/v1` for tables, views and functions.

Refused, with an error that names it: resource embedding, CSV and GeoJSON, data representations, and the OpenAPI
description at the root. Execution plans are refused as hosted Supabase refuses them.

Known differences from PostgREST 16:

* The words of a parser error after "expecting" may differ, and now and then its position; code and status do not.
* Media types that a project defines by domains named after them are not known: asking for one is answered by 406, and
  a handler for `*/*` or `application/json` is not called.
* A table, column or function that is missing is looked for anew in the database before the request is refused.
* There is no `db-pre-request`, and nothing is configured from the database but the settings of roles.
"""

from whatssound.local.rest.errors import ApiError
from whatssound.local.rest.service import RestService
from whatssound.local.rest.settings import RestSettings

__all__ = ["ApiError", "RestService", "RestSettings"]
