"""The frame of a self-contained page: everything is inline, every text is escaped."""

import html

from r3jax.view import style

# Nothing may be fetched and no script may run, even if an escape were forgotten.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def escape(value: object) -> str:
    """A value as text that is safe in an element and in a quoted attribute, and that UTF-8 has."""
    return html.escape(str(value).encode("utf-8", "replace").decode(), quote=True)


def render(title: str, body: str) -> str:
    """A whole page around a body that is already HTML; the title is plain text."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style.CSS}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )
