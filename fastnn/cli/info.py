"""``fastnn info``: what this installation is and what this machine offers."""

OPTIONAL = {
    "tqdm": "progress bar",
    "safetensors": "model files",
    "matplotlib": "learning curves",
    "sklearn": "estimators",
    "joblib": "search and ensembles on other machines",
}


def _version(module):
    from importlib import metadata

    try:
        return metadata.version({"sklearn": "scikit-learn"}.get(module, module))
    except metadata.PackageNotFoundError:
        return None


def info(options):
    """Run ``fastnn info``; returns the exit code."""
    from fastnn.threads import show_config

    values = show_config(mode="dicts")
    values["cpu"] = _cpu()
    for module, use in OPTIONAL.items():
        values[module] = _version(module) or f"not installed ({use})"
    width = max(len(name) for name in values)
    for name, value in values.items():
        text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        print(f"{name.replace('_', ' '):<{width}}  {text}")
    return 0


def _cpu():
    """Name of the processor as Linux knows it, else the architecture."""
    import platform

    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
