"The pages tell of training what the record says."
import importlib.util
from pathlib import Path
import pytest
from mnist_basics.ladder import BANDS, RUNGS, TEN_RUNGS

BENCH = Path(__file__).resolve().parent.parent/'bench'
spec = importlib.util.spec_from_file_location('bands', BENCH/'bands.py')
bands = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bands)
TABLE = bands.table(bands.load(BENCH/'bands.json'))


@pytest.mark.parametrize('rung', TABLE, ids=str)
def test_the_summary_is_that_of_the_record(rung):
    want = [round(o, 4) for o in TABLE[rung].values()]
    assert [round(o, 4) for o in BANDS[rung]] == want


def test_every_rung_that_climbs_unasked_is_there():
    rungs = {(n, o.what) for n, r in ((2, RUNGS), (10, TEN_RUNGS)) for o in r if not o.asked}
    assert rungs >= set(BANDS) == set(TABLE)
