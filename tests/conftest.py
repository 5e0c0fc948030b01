"What several test files share."
import shutil
from pathlib import Path
import pytest


@pytest.fixture(scope='session')
def browser():
    "Chromium: the system's, else the one that Playwright has installed; one a process, as Playwright wants it"
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        path = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome', 'chrome'))), p.chromium.executable_path)
        if not Path(path).exists(): pytest.skip('there is no browser here: install chromium, or run `playwright install chromium`')
        chromium = p.chromium.launch(executable_path=path, args=['--no-sandbox'])
        yield chromium
        chromium.close()
