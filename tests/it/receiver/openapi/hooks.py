"""Rules of the receiver that JSON Schema has no words for."""

import itertools

import schemathesis
from hypothesis import strategies as st

_number = itertools.count()

LABEL = st.from_regex(r"[a-z]([a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
REQUIREMENT = st.one_of(
    LABEL,
    LABEL.map("!{}".format),
    st.builds("{}{}{}".format, LABEL, st.sampled_from(["=", "==", "!="]), LABEL),
    st.builds("{} {} ({},{})".format, LABEL, st.sampled_from(["in", "notin"]), LABEL, LABEL),
)
FIELD = st.builds(
    "{}{}{}".format,
    st.sampled_from(["metadata.name", "metadata.namespace"]),
    st.sampled_from(["=", "==", "!="]),
    LABEL,
)
schemathesis.openapi.format("label-selector", st.lists(REQUIREMENT, max_size=4).map(",".join))
schemathesis.openapi.format("field-selector", st.lists(FIELD, max_size=3).map(",".join))

# Only an answer can name the rest of a list.
schemathesis.openapi.format("continue-token", st.just(""))


@schemathesis.hook
def before_call(context, case, kwargs):
    """Gives each post a key of its own, unless the key is to be refused."""
    key = (case.headers or {}).get("Idempotency-Key")
    if key and len(key) < 200 and key.isascii() and key.isprintable() and " " not in key:
        case.headers["Idempotency-Key"] = f"{key.strip(chr(34))}-{next(_number)}"
