"""What can go wrong with a model on one's own computer; each text says what to do."""

from tasks.errors import ParleyError


class DownloadError(ParleyError):
    """The model could not be downloaded."""


class UnfitComputerError(ParleyError):
    """This computer cannot run the model."""
