"""Texts by key in a file: threads and processes of one machine may read and add to it, and a kill
in the middle loses nothing that was added."""

import contextlib
import pathlib
import sqlite3
import threading


class Kept:
    """The texts of one file, which is made where it is not there.

    Raises: ValueError for a file that is something else, or on which nothing can be kept.
    """

    def __init__(self, path: str | pathlib.Path):
        path = pathlib.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._file = sqlite3.connect(path, timeout=60, check_same_thread=False)
        try:
            # Some file systems cannot write ahead: they are slower, then.
            with contextlib.suppress(sqlite3.OperationalError):
                self._file.execute("pragma journal_mode=wal")
            self._file.text_factory = lambda data: data.decode("utf-8", "surrogatepass")
            self._file.execute("create table if not exists kept (key text primary key, text text)")
            self._file.commit()
        except sqlite3.OperationalError as error:
            raise ValueError(f"{path}: nothing can be kept there ({error})") from error
        except sqlite3.DatabaseError as error:
            raise ValueError(
                f"{path} is no file of kept answers ({error}): name another one"
            ) from error

    def get(self, key: str) -> str | None:
        """The text of a key, or None."""
        with self._lock:
            found = self._file.execute("select text from kept where key = ?", (key,)).fetchone()
        return None if found is None else found[0]

    def put(self, key: str, text: str) -> None:
        """Adds a text, or replaces it: any text, halves of characters among them."""
        data = text.encode("utf-8", "surrogatepass")
        with self._lock:
            self._file.execute(
                "insert or replace into kept values (?, cast(? as text))", (key, data)
            )
            self._file.commit()
