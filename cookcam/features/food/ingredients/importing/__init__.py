"""Import of USDA's published files into the ingredient catalogue: `cookcam usda import FILE`."""

from cookcam.features.food.ingredients.importing.bundles import BundleError
from cookcam.features.food.ingredients.importing.loading import ImportReport, import_bundle

__all__ = ["BundleError", "ImportReport", "import_bundle"]
