"""The fabric folder: kinds of documents, loading and checking, templates, scaffolds, schemas for editors."""

from weftline.fabric.expand import FabricSpec
from weftline.fabric.folder import Folder, load
from weftline.fabric.registry import ConnectorModel, Plugins, discover

__all__ = ["ConnectorModel", "FabricSpec", "Folder", "Plugins", "discover", "load"]
