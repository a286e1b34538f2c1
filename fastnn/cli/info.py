"""``fastnn info``: what this installation is and what this machine offers."""

DISTRIBUTION = "fastnn-cpu"

OPTIONAL = {
    "tqdm": "progress bar",
    "safetensors": "model files",
    "matplotlib": "pictures",
    "pyarrow": "Parquet, and text tables faster",
    "joblib": "search and ensembles on other machines",
}


def _version(distribution):
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def other_owners():
    """Distributions other than ours that install files into ``fastnn/``: the last one has overwritten ours."""
    from importlib import metadata

    owners = set()
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if not name or name.lower().replace("_", "-") == DISTRIBUTION:
            continue
        if any(file.parts[0] == "fastnn" for file in distribution.files or ()):
            owners.add(f"{name} {distribution.version}")
    return sorted(owners)


def describe_owners(owners):
    """What is wrong and what to do, in one line."""
    names = " ".join(owner.split()[0] for owner in owners)
    return (f"{', '.join(owners)} installs into the folder fastnn/ too: pip uninstall {names}, then pip install "
            f"--force-reinstall {DISTRIBUTION}")  # fmt: skip


def info(options):
    """Run ``fastnn info``; returns the exit code."""
    if options.model is not None:
        from fastnn.cli.card import print_card

        return print_card(options.model)
    from fastnn.threads import show_config

    values = show_config(mode="dicts")
    values["cpu"] = _cpu()
    for module, use in OPTIONAL.items():
        values[module] = _version(module) or f"not installed ({use})"
    width = max(len(name) for name in values)
    for name, value in values.items():
        text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        print(f"{name.replace('_', ' '):<{width}}  {text}")
    if owners := other_owners():
        print(f"warning: {describe_owners(owners)}")
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
