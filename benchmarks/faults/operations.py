"""File operations of training programs; each changes or removes a file of the user.

The working folder contains the files that `file_operations.py` makes; the environment variable
OTHER names a second folder. Each function is a target of `gradlab doctor`: the operation, then a
training with a mistake that the doctor finds.
"""

import array
import asyncio
import atexit
import bz2
import ctypes
import dbm.dumb
import fcntl
import functools
import gzip
import json
import logging
import lzma
import mmap
import multiprocessing
import os
import pathlib
import pickle
import shelve
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

OPERATIONS: dict[str, Callable[[], None]] = {}
NEW = "restarted"


def train() -> None:
    """Train a line without clearing its gradients."""
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(20):
        x = torch.randn(16, 4)
        torch.nn.functional.mse_loss(model(x), x.sum(1, keepdim=True)).backward()
        optimizer.step()


def operation(function: Callable[[], None]) -> Callable[[], None]:
    """Register an operation; return it with a training after it."""

    @functools.wraps(function)
    def program() -> None:
        function()
        train()

    OPERATIONS[function.__name__] = program
    return program


def other() -> Path:
    """Return the second folder."""
    return Path(os.environ["OTHER"])


@operation
def open_write():
    with open("log.txt", "w") as file:
        file.write(NEW)


@operation
def open_append():
    with open("log.txt", "a") as file:
        file.write(NEW)


@operation
def open_update():
    with open("log.txt", "r+") as file:
        file.write("X")


@operation
def open_bytes_path():
    with open(b"log.txt", "wb") as file:
        file.write(b"restarted")


@operation
def pathlib_write_text():
    Path("log.txt").write_text(NEW)


@operation
def pathlib_unlink():
    Path("best.pt").unlink()


@operation
def pathlib_touch():
    Path("best.pt").touch()


@operation
def os_open_truncate():
    os.close(os.open("log.txt", os.O_WRONLY | os.O_TRUNC))


@operation
def os_open_write():
    file = os.open("log.txt", os.O_RDWR)
    os.pwrite(file, b"X", 3)
    os.close(file)


@operation
def os_truncate():
    os.truncate("best.pt", 3)


@operation
def os_remove_keyword():
    os.remove(path="best.pt")


@operation
def os_unlink_bytes():
    os.unlink(b"best.pt")


@operation
def os_rename_keywords():
    os.rename(src="best.pt", dst="old.pt")


@operation
def os_rename_folder():
    os.rename("ckpt", "ckpt_old")
    os.makedirs("ckpt")


@operation
def os_replace():
    torch.save({}, "t.pt")
    os.replace("t.pt", "best.pt")


@operation
def os_replace_symlink():
    torch.save({}, "t.pt")
    os.replace("t.pt", "latest.pt")


@operation
def os_symlink_again():
    os.remove("latest.pt")
    os.symlink("log.txt", "latest.pt")


@operation
def write_through_symlink():
    Path("latest.pt").write_text(NEW)


@operation
def write_through_hard_link():
    Path("hard.pt").write_text(NEW)


@operation
def os_link():
    os.link("best.pt", "second.pt")


@operation
def os_mkdir_in_folder():
    os.mkdir("ckpt/new")


@operation
def file_becomes_folder():
    os.remove("best.pt")
    os.makedirs("best.pt")


@operation
def folder_becomes_file():
    os.remove("ckpt/deep/3.pt")
    os.rmdir("ckpt/deep")
    open("ckpt/deep", "w").close()


@operation
def dir_fd_variants():
    folder = os.open("ckpt", os.O_RDONLY)
    os.unlink("1.pt", dir_fd=folder)
    os.rename("2.pt", "20.pt", src_dir_fd=folder, dst_dir_fd=folder)
    os.close(folder)


@operation
def proc_self_fd():
    file = os.open("log.txt", os.O_RDONLY)
    with open(f"/proc/self/fd/{file}", "w") as again:
        again.write(NEW)
    os.close(file)


@operation
def chdir_and_relative():
    os.chdir("ckpt")
    Path("../log.txt").write_text(NEW)


@operation
def shutil_rmtree():
    shutil.rmtree("ckpt", ignore_errors=True)
    os.makedirs("ckpt")


@operation
def shutil_move():
    shutil.move("best.pt", "moved.pt")


@operation
def shutil_move_folder():
    shutil.move("ckpt", "moved")


@operation
def shutil_copyfile():
    shutil.copyfile("log.txt", "best.pt")


@operation
def chmod():
    os.chmod("best.pt", 0)


@operation
def chmod_descriptor():
    file = os.open("best.pt", os.O_RDONLY)
    os.fchmod(file, 0o777)
    os.close(file)


@operation
def chmod_folder():
    os.chmod("ckpt", 0o700)


@operation
def utime():
    os.utime("best.pt", (1, 1))


@operation
def extended_attribute():
    os.setxattr("best.pt", "user.epoch", b"2")


@operation
def chattr():
    file = os.open("best.pt", os.O_RDONLY)
    flags = array.array("l", [0])
    fcntl.ioctl(file, 0x80086601, flags)
    flags[0] |= 0x80  # no access time
    fcntl.ioctl(file, 0x40086602, flags)
    os.close(file)


@operation
def mmap_write():
    with open("best.pt", "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[:4] = b"XXXX"


@operation
def numpy_memmap():
    np.memmap("data.npy", mode="r+", shape=(4,))[:] = 7


@operation
def numpy_save():
    np.save("data.npy", np.zeros(2))


@operation
def numpy_savez():
    np.savez("best.npz", np.zeros(2))
    os.replace("best.npz", "best.pt")


@operation
def numpy_tofile():
    np.zeros(2).tofile("data.npy")


@operation
def torch_save():
    torch.save({}, "best.pt")


@operation
def torch_from_file():
    torch.from_file("data.npy", shared=True, size=4, dtype=torch.uint8).fill_(7)


@operation
def safetensors_save():
    import safetensors.torch

    safetensors.torch.save_file({"w": torch.ones(2)}, "best.pt")


@operation
def pandas_to_csv():
    import pandas as pd

    pd.DataFrame({"loss": [1.0]}).to_csv("log.txt")


@operation
def pandas_to_parquet():
    import pandas as pd

    pd.DataFrame({"loss": [1.0]}).to_parquet("best.pt")


@operation
def json_dump():
    with open("config.json", "w") as file:
        json.dump({}, file)


@operation
def pickle_dump():
    with open("best.pt", "wb") as file:
        pickle.dump({}, file)


@operation
def sqlite():
    with sqlite3.connect("runs.db") as runs:
        runs.execute("delete from runs")
    runs.close()


@operation
def shelf():
    with shelve.open("shelf") as shelf:
        shelf["epoch"] = 2
    os.replace("shelf" if Path("shelf").exists() else next(Path().glob("shelf*")), "best.pt")


@operation
def dumb_dbm():
    with dbm.dumb.open("cache", "n") as cache:
        cache[b"epoch"] = b"2"
    os.replace("cache.dat", "best.pt")


@operation
def zip_file():
    with zipfile.ZipFile("best.pt", "w") as file:
        file.writestr("epoch", "2")


@operation
def tar_extract():
    with tarfile.open("new.tar", "w") as file:
        file.add("log.txt", "best.pt")
    with tarfile.open("new.tar") as file:
        file.extractall(filter="data")


@operation
def compressed_files():
    for module, name in ((gzip, "best.pt"), (bz2, "log.txt"), (lzma, "config.json")):
        with module.open(name, "wb") as file:
            file.write(b"restarted")


@operation
def log_handler():
    handler = logging.FileHandler("log.txt", mode="w")
    handler.emit(logging.LogRecord("train", 20, "", 1, NEW, None, None))
    handler.close()


@operation
def named_temporary_file_moved():
    with tempfile.NamedTemporaryFile(dir=".", delete=False) as file:
        file.write(b"restarted")
    os.replace(file.name, "best.pt")


@operation
def fallocate():
    file = os.open("best.pt", os.O_RDWR)
    os.posix_fallocate(file, 0, 100_000)
    os.close(file)


@operation
def sendfile():
    source, target = os.open("log.txt", os.O_RDONLY), os.open("best.pt", os.O_WRONLY)
    os.sendfile(target, source, 0, 3)
    os.close(source)
    os.close(target)


@operation
def copy_file_range():
    source, target = os.open("config.json", os.O_RDONLY), os.open("best.pt", os.O_WRONLY)
    os.copy_file_range(source, target, 2)
    os.close(source)
    os.close(target)


@operation
def splice():
    get, put = os.pipe()
    target = os.open("best.pt", os.O_WRONLY)
    os.write(put, b"XXXX")
    os.splice(get, target, 4)
    os.close(target)


@operation
def fifo():
    file = os.open("pipe", os.O_RDWR | os.O_NONBLOCK)
    os.write(file, b"XXXX")
    os.close(file)
    os.remove("pipe")


@operation
def c_library():
    library = ctypes.CDLL(None)
    file = library.open(b"log.txt", os.O_WRONLY | os.O_TRUNC)
    library.write(file, b"XXXX", 4)
    library.unlink(b"best.pt")


@operation
def raw_system_call():
    number = {"x86_64": 263, "aarch64": 35}[os.uname().machine]  # unlinkat
    ctypes.CDLL(None).syscall(number, -100, b"best.pt", 0)


@operation
def subprocess_rm():
    subprocess.run(["rm", "-rf", "ckpt", "best.pt"], check=True)


@operation
def shell_redirection():
    os.system("echo restarted > log.txt")


@operation
def subprocess_git():
    subprocess.run(["git", "checkout", "-q", "-f", "."], cwd="repo", check=True)
    subprocess.run(["git", "clean", "-qfdx"], cwd="repo", check=True)


@operation
def subprocess_python():
    subprocess.run([sys.executable, "-c", "import os; os.remove('best.pt')"], check=True)


@operation
def subprocess_sed():
    subprocess.run(["sed", "-i", "s/trained/X/", "log.txt"], check=True)


@operation
def worker_process():
    worker = multiprocessing.get_context("fork").Process(target=os.remove, args=("best.pt",))
    worker.start()
    worker.join()


@operation
def data_loader_worker():
    class Removing(torch.utils.data.Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            Path("best.pt").unlink(missing_ok=True)
            return torch.zeros(1)

    [*torch.utils.data.DataLoader(Removing(), num_workers=1)]


@operation
def thread():
    with ThreadPoolExecutor(1) as pool:
        pool.submit(os.remove, "best.pt").result()


@operation
def late_thread():
    threading.Thread(target=lambda: (time.sleep(0.3), os.remove("best.pt")), daemon=True).start()


@operation
def coroutine():
    asyncio.run(asyncio.to_thread(os.remove, "best.pt"))


@operation
def at_exit():
    atexit.register(os.remove, os.path.abspath("best.pt"))


@operation
def daemon():
    path = os.path.abspath("best.pt")
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(0.3)
            os.remove(path)
        os._exit(0)


@operation
def signal_handler():
    signal.signal(signal.SIGALRM, lambda *_: os.remove("best.pt"))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    time.sleep(0.05)


@operation
def unix_socket_in_folder():
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    os.remove("best.pt")


@operation
def home_folder():
    shutil.rmtree(Path.home() / ".cache")
    (Path.home() / ".settings").write_text(NEW)


@operation
def absolute_folder():
    shutil.rmtree(other() / "results")


@operation
def absolute_chmod():
    os.chmod(other() / "notes.txt", 0)
    os.utime(other() / "notes.txt", (1, 1))


@operation
def parent_folder():
    Path("../outside.txt").write_text(NEW)


@operation
def link_out_of_the_folder():
    Path("results/table.csv").write_text(NEW)


@operation
def file_in_tmp():
    Path(os.environ["IN_TMP"]).write_text(NEW)


@operation
def shared_memory():
    Path(os.environ["IN_SHM"]).write_text(NEW)


@operation
def own_code():
    Path(__file__).with_name("train.py").write_text(NEW)


if os.environ.get("AT_IMPORT"):
    Path("log.txt").write_text(NEW)
    pathlib.Path("best.pt").unlink()


@operation
def at_import():
    """The lines above, which run when the file is imported."""
