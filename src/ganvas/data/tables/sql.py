"""Tables of databases, through SQLAlchemy's URLs: sqlite:///shop.db#orders, postgresql://me@host/shop#SELECT ....

What follows the # is a table, a schema and a table, or a query.  Nothing is written: connections are read-only where
the database knows such, and are rolled back in any case.  A URL with a password is refused, since sources are stored
with runs and printed; the password is what GANVAS_SQL_PASSWORD says.
"""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ...errors import UserError, did_you_mean, first_line
from ..dataset import Dataset, split_dataset
from ..listing import join_names
from ..options import DataOptions

if TYPE_CHECKING:
    import pandas as pd

PASSWORD = "GANVAS_SQL_PASSWORD"
URL_PATTERN = re.compile(r"(sqlite|postgresql|mysql|mariadb|mssql|oracle|duckdb)(\+\w+)?://", re.I)
QUERY_PATTERN = re.compile(r"\s*(select|with|values|table)\b", re.I)
SECRET_KEYS = ("password", "passwd", "pwd")
READ_ONLY = {"postgresql": "SET TRANSACTION READ ONLY", "mysql": "SET TRANSACTION READ ONLY"}
READ_ONLY["mariadb"] = READ_ONLY["mysql"]
"""statements that begin a transaction that cannot write, by the database"""


def is_sql(source: str) -> bool:
    """Whether a source is the URL of a database."""
    return URL_PATTERN.match(source) is not None


def absolute_url(source: str) -> str:
    """The source with the absolute path of its file, where the database is one."""
    match = re.fullmatch(r"(sqlite(?:\+\w+)?:///)([^/:?#][^?#]*)(.*)", source, re.S | re.I)
    return f"{match[1]}{Path(match[2]).expanduser().absolute()}{match[3]}" if match else source


def load_sql(source: str, options: DataOptions) -> Dataset:
    """The rows of the split of a database's table, or of what a query gives, that the options name."""
    frame, name = read_sql(source)
    from .frame import from_frame

    return split_dataset(from_frame(frame, options, name=name, file=hide(source)), options)


def hide(source: str) -> str:
    """The source without a password."""
    return re.sub(r"(?<=://)([^/@#]*):[^/#]*@", r"\1:***@", source)


def read_sql(source: str) -> tuple["pd.DataFrame", str]:
    """The rows as a frame, and what to call them; UserError where the database cannot be read."""
    try:
        import pandas as pd
        import sqlalchemy
    except ImportError as error:
        raise UserError(f'{hide(source)} is read by {error.name}: pip install "ganvas[sql]"') from error
    address, _, target = source.partition("#")
    engine = connect(sqlalchemy, address, hide(source))
    try:
        with engine.connect() as connection:
            if statement := READ_ONLY.get(engine.dialect.name):
                connection.execute(sqlalchemy.text(statement))
            if QUERY_PATTERN.match(target):
                query, name = sqlalchemy.text(target.replace(":", r"\:")), "query"  # which would ask for parameters
            else:
                query, name = find_table(sqlalchemy, connection, target.strip(), hide(source))
            result = connection.execute(query)
            if not result.returns_rows:
                raise UserError(f"{hide(source)} gives no rows: give a table, or a query that selects some")
            frame = pd.DataFrame(result.fetchall(), columns=list(result.keys()), dtype=object)
            for i in range(frame.shape[1]):
                frame.isetitem(i, typed_column(frame.iloc[:, i]))
            connection.rollback()
            return frame, name
    except (sqlalchemy.exc.SQLAlchemyError, UnicodeDecodeError) as error:
        why = first_line(error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig else error)
        raise UserError(f"{hide(source)} cannot be read: {why}") from error
    except MemoryError as error:
        raise UserError(f"{hide(source)} cannot be read: its rows need more memory than there is") from error
    finally:
        engine.dispose()


def typed_column(values: "pd.Series") -> "pd.Series":
    """A column of Python's objects with the type that all have; whole numbers stay so beside missing ones.

    UUIDs become texts.
    """
    present = values.dropna()
    if len(present) and all(type(value) is UUID for value in present):
        return values.map(str, na_action="ignore")
    is_whole = 0 < len(present) < len(values) and all(type(value) is int for value in present)
    return values.astype("Int64") if is_whole and present.abs().max() < 2**63 else values.infer_objects()


def connect(sqlalchemy: Any, address: str, shown: str) -> Any:
    """An engine that only reads; UserError for a URL with a password, and without the database's driver."""
    try:
        url = sqlalchemy.make_url(address)
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        raise UserError(f"{shown} is no URL of a database: give e.g. sqlite:///shop.db#orders") from error
    if url.password is not None or any(key.lower() in SECRET_KEYS for key in url.query):
        where = f"leave it out, and set the environment variable {PASSWORD}"
        raise UserError(f"{shown} has a password, which would be stored with the run: {where}")
    if url.get_backend_name() == "sqlite":
        path = Path(url.database or "")
        if not path.is_file():
            raise UserError(
                f"{shown}: there is no file {path}: an absolute path has four slashes, sqlite:////data/shop.db"
            )
        url = url.set(database=f"file:{path.absolute().as_posix()}", query={"mode": "ro", "uri": "true"})
    elif PASSWORD in os.environ:
        url = url.set(password=os.environ[PASSWORD])
    try:
        return sqlalchemy.create_engine(url)
    except ImportError as error:
        raise UserError(f"{shown} needs the driver {error.name}: install it") from error


def find_table(sqlalchemy: Any, connection: Any, target: str, shown: str) -> tuple[Any, str]:
    """The query of all rows of a table, and its name; of the only one, where none is asked for."""
    inspector, (schema, _, name) = sqlalchemy.inspect(connection), target.rpartition(".")
    names = [*inspector.get_table_names(schema or None), *inspector.get_view_names(schema or None)]
    if not name and len(names) == 1:
        name = names[0]
    if name not in names:
        which = f"has no table {name!r}.{did_you_mean(name, names)} It has" if name else "has several tables"
        how = f": say which, e.g. #{names[0]}" if names and not name else ""
        raise UserError(f"{shown} {which}: {join_names(names, 20)}{how}" if names else f"{shown} has no tables")
    return sqlalchemy.select(sqlalchemy.text("*")).select_from(sqlalchemy.table(name, schema=schema or None)), name
