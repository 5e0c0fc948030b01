from importlib.metadata import PackageNotFoundError, version

try: __version__ = version(__name__)
except PackageNotFoundError: __version__ = '0+not.installed'
