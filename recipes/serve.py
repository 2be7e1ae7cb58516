"""Serve a model on this machine: a page with upload and microphone, OpenAI's /v1/audio/transcriptions."""

from qasr_train.config.command_line import run_recipe
from qasr_train.jobs.recipes import PROJECT

if __name__ == "__main__":
    run_recipe("serve", PROJECT)
