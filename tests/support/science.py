"""Files of science, made by their libraries."""

import io
from typing import Any

import numpy as np


def dicom(image: np.ndarray, **tags: Any) -> bytes:
    """A DICOM file of one grey image with 16 bits."""
    import pydicom

    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = pydicom.uid.CTImageStorage, "1.2.3"
    content = pydicom.Dataset()
    content.file_meta = meta
    content.Rows, content.Columns = image.shape
    content.SamplesPerPixel, content.PhotometricInterpretation = 1, "MONOCHROME2"
    content.BitsAllocated = content.BitsStored = 16
    content.HighBit, content.PixelRepresentation = 15, 0
    content.PixelData = image.astype("<u2").tobytes()
    for name, value in tags.items():
        setattr(content, name, value)
    content.save_as(file := io.BytesIO(), enforce_file_format=True)
    return file.getvalue()
