"""What the contest asks for: names of rows and columns, size of the masks."""

HEADER = ("id", "mask_rle")
CLASSES = 12
"""Classes with a row each, ids 0 to 11; 12 is Background, which is not submitted."""
WIDTH, HEIGHT = 960, 540
"""Size of the submitted masks, whatever size the pictures have."""
PICTURES = 1898
"""Pictures in the contest's test.csv, so that a submission has 22,776 rows."""


def row_id(picture: str, number: int) -> str:
    """Return the id of the row for class `number` of a picture, such as TEST_0000_class_0."""
    return f"{picture}_class_{number}"
