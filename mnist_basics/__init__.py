def __getattr__(name):
    "`__version__` is looked up when it is asked for: until then nothing else is imported"
    if name!='__version__': raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from importlib.metadata import PackageNotFoundError, version
    try: return version(__name__)
    except PackageNotFoundError: return '0+not.installed'
