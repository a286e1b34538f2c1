"""Training that is killed at random moments and resumed, beside the same training left alone.

python tests/helpers/killed_training.py [KILLS] [SEED] kills processes (SIGKILL) at random moments until KILLS have
died, 50 by default, some runs several times; resumes the runs and compares their final states with that of
the uninterrupted run.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

EPOCHS = 4


def train(folder, seed):
    """One process: train with checkpoints after steps and epochs, going on where the last process was killed."""
    import numpy as np

    from fastnn import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, Trainer, nn, optim

    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, 3000)
    x = (rng.normal(size=(5, 20))[labels] + rng.normal(size=(3000, 20))).astype(np.float32)
    layers = nn.Linear(20, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Dropout(0.2), nn.Linear(48, 5)
    trainer = Trainer(nn.Sequential(*layers, seed=2), nn.CrossEntropyLoss(), optim.Adam(lr=0.01), ema=0.99, seed=seed,
                      scheduler=lambda base, step, epoch: base / (1 + 0.01 * step))  # fmt: skip
    path = os.path.join(folder, "checkpoint")
    hooks = [ModelCheckpoint(path, every_steps=7), ReduceLROnPlateau(patience=1, min_delta=0.05),
             EarlyStopping(patience=EPOCHS)]  # fmt: skip
    print("ready", flush=True)
    trainer.fit(x, labels, epochs=EPOCHS, batch_size=32, validation_split=0.2, callbacks=hooks, progress=False,
                resume=path)  # fmt: skip
    arrays, values = trainer.state_dict()
    for column in ("seconds", "samples_per_second"):
        del values["history"][column]
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(name.encode() + arrays[name].tobytes())
    print(digest.hexdigest(), flush=True)


def start(folder, seed):
    """A child process that trains; returns it when it is about to begin."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, __file__, "child", str(folder), str(seed)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    if process.stdout.readline() != b"ready\n":
        raise RuntimeError("the training process did not start")
    return process


def finish(process):
    """The digest of the final state; None if the process was killed before its end."""
    text = process.stdout.read().decode().strip()
    return text if process.wait() == 0 else None


def kill_and_resume(folder, kills, seed):
    """Kill a training run until `kills` processes have died in it; {"equal", "kills", "steps lost", ...}."""
    folder, chance = str(folder), random.Random(seed)
    plain, killed = os.path.join(folder, "plain"), os.path.join(folder, "killed")
    os.makedirs(plain)
    began = time.perf_counter()
    wanted = finish(start(plain, seed % 1000))
    length = time.perf_counter() - began
    died = unreadable = equal = runs = 0
    while died < kills:
        runs += 1
        path = os.path.join(killed, str(runs))
        os.makedirs(path)
        for _ in range(1 + (runs % 5 == 0) * chance.randrange(1, 4)):
            process = start(path, seed % 1000)
            time.sleep(chance.uniform(0, 0.7 * length))
            process.send_signal(signal.SIGKILL)
            died += finish(process) is None
            unreadable += not loadable(os.path.join(path, "checkpoint"))
        equal += finish(start(path, seed % 1000)) == wanted
    return {"kills": died, "runs": runs, "equal runs": equal, "equal": equal == runs and not unreadable,
            "unreadable checkpoints": unreadable, "seed": seed, "seconds of a run": round(length, 2)}  # fmt: skip


def loadable(path):
    """Whether there is a whole checkpoint, or none yet."""
    from fastnn.io import load_safetensors

    if not os.path.exists(path):
        return True
    try:
        load_safetensors(path)
    except ValueError:
        return False
    return True


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        train(sys.argv[2], int(sys.argv[3]))
    else:
        count = int(sys.argv[1]) if len(sys.argv) > 1 else 50
        first = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
        with tempfile.TemporaryDirectory() as temporary:
            print(json.dumps(kill_and_resume(temporary, count, first)))
