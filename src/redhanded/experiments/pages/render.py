"""How pages are made: from the templates beside this module."""

from collections.abc import Callable

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


def render(template: str, *filters: Callable[..., str], **values: object) -> str:
    """Return a template filled with values; `filters` are known in it by their names, less underscores."""
    environment = Environment(
        loader=PackageLoader("redhanded.experiments.pages"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["grouped"] = "{:,}".format
    environment.filters |= {show.__name__.strip("_"): show for show in filters}
    return environment.get_template(template).render(values)
