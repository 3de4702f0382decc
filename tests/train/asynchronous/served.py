"""A small run on a parameter server, and workers for it in threads of the test's process."""

import threading
import time
from dataclasses import replace

from groundup.files import read_json
from groundup.train.asynchronous.config import AsynchronousConfig
from groundup.train.asynchronous.serve import ADDRESS_FILE, TOKEN_FILE
from groundup.train.asynchronous.work import Work, work
from groundup.train.pretrain import pretrain
from tests.train.small import SETTINGS, Tokens, job

WAIT_SECONDS = 30.0


def settings_of(optimizer="sgd", ordinary="sgd", *, steps=12, momentum=0.0, **asynchronous):
    """Settings of the small run as the section would become them."""
    config = AsynchronousConfig(kind="parameter_server", optimizer=optimizer, **asynchronous)
    return replace(
        SETTINGS, steps=steps, optimizer=ordinary, momentum=momentum, learning_rate=0.1,
        asynchronous=config.model_dump(),
    )  # fmt: skip


def work_of(settings):
    """What a worker of that run has."""
    whole = job(settings)
    return Work(whole.key, settings, whole.objective, Tokens())


def address_and_token(folder):
    """Of the server of a run, as soon as it is there."""
    end = time.monotonic() + WAIT_SECONDS
    while not (folder / TOKEN_FILE).exists():
        assert time.monotonic() < end, "no server"
        time.sleep(0.01)
    found = read_json(folder / ADDRESS_FILE)
    return (found["host"], found["port"]), (folder / TOKEN_FILE).read_text().strip()


def train(folder, settings, n_workers=1, *, before=None, **about):
    """The run to its end, with workers in threads; what each of them did.

    Args:
        before: called with address and token before the workers join.
        about: fields of the job.
    """
    results, errors, may_join = [], [], threading.Event()

    def guarded(work_, *arguments):
        try:
            work_(*arguments)
        except BaseException as error:
            errors.append(error)

    def prepare():
        try:
            if before is not None:
                before(*address_and_token(folder))
        finally:
            may_join.set()

    def one(name):
        may_join.wait(WAIT_SECONDS)
        address, token = address_and_token(folder)
        results.append(work(address, token, work_of(settings), name=name, n_threads=1))

    threads = [threading.Thread(target=guarded, args=[prepare], daemon=True)]
    threads += [
        threading.Thread(target=guarded, args=[one, f"thread {number}"], daemon=True)
        for number in range(1, n_workers + 1)
    ]
    for thread in threads:
        thread.start()
    try:
        pretrain(folder, Tokens(), replace(job(settings), **about))
    finally:
        for thread in threads:
            thread.join(WAIT_SECONDS)
    assert not errors, errors
    return results
