"""From a network to files a vehicle can run: portable ONNX and model bundles."""

from internimage_perception.deploy.bundles import create_bundle
from internimage_perception.deploy.export import ExportReport, export_portable
from internimage_perception.deploy.exporting import ExportFrames, check_exportable, export_bundle
from internimage_perception.deploy.selfcheck import OutputAgreement, check_export

__all__ = [
    "ExportFrames",
    "ExportReport",
    "OutputAgreement",
    "check_export",
    "check_exportable",
    "create_bundle",
    "export_bundle",
    "export_portable",
]
