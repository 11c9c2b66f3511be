"""An exchange whose log was restored from a backup does not start, until somebody accepts that; then all begins anew."""

from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from api.database import dsn_of
from api.lost_log import accept_lost_log
from api.processes import Embedded, refuse_lost_log
from consumers.engine.log import LogLost
from consumers.wiring import open_recorder
from local.processes import polls
from projections.machine.known_log import LostEventsError
from projections.machine.store import connect
from projections.reading import projection_status
from projections.registry import PROJECTIONS
from settings import Settings
from tests.consumers.test_lost_log import traded

TABLE = Identifier("public", "log_0_events")


def run_until_projected(settings: Settings, position: int) -> None:
    """Start the whole exchange, and stop it when its read models are at the position."""
    with Embedded(settings, one_process=True), connect(dsn_of(settings)) as connection:
        for _ in polls(60):
            rows = projection_status(connection)
            if len(rows) == len(PROJECTIONS) and all(row.position >= position for row in rows):
                return
        raise AssertionError(f"the read models do not reach {position}: {rows}")


@pytest.mark.parametrize("known", ["by the engine", "by the read models only"])
def test_a_restored_log_is_refused_until_that_is_accepted(tmp_path: Path, database: str, known: str) -> None:
    """The read models stand in the same database; the lost rows stay beside the new ones, and the views read the new ones."""
    settings = Settings(home=tmp_path / "home", dsn=database, port=0)
    market, _ = traded(settings, 0, 5)
    with psycopg.connect(database, autocommit=True) as session:
        session.execute(SQL("CREATE TABLE backup AS TABLE {}").format(TABLE))
        _, replies = traded(settings, 5, 9, market)
        run_until_projected(settings, replies[-1].position)
        session.execute(SQL("TRUNCATE {0}; INSERT INTO {0} SELECT * FROM backup").format(TABLE))
        trades = "SELECT count(*) FROM dashboards.trades"
        assert session.execute(trades).fetchone() == (9,)
        if known == "by the read models only":
            settings = settings.model_copy(update={"home": tmp_path / "another"})

        with pytest.raises((LogLost, LostEventsError)), Embedded(settings, one_process=True):
            pass
        with (
            open_recorder(settings) as log,
            connect(database) as connection,
            pytest.raises(LostEventsError, match="--accept-lost-log"),
        ):
            refuse_lost_log(connection, log)
        assert session.execute(trades).fetchone() == (9,)

        accept_lost_log(settings, engine=True, read_models=True)
        run_until_projected(settings, replies[0].position - 4)
        assert session.execute(trades).fetchone() == (5,)
        (lost,) = session.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'lost_%'").fetchone() or ()
        assert session.execute(SQL("SELECT count(*) FROM {}").format(Identifier(lost, "trades"))).fetchone() == (9,)
        accept_lost_log(settings, read_models=True)
        assert session.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'lost_%'").fetchone() == (1,)
