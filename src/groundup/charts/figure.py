"""What every chart shares: colours, the page's style, plotly's script, and the HTML around a plot.

Plotly draws in the browser; a page holds `script()` once and any number of figures, and nothing is
fetched from anywhere. Colours of text and grid come from the page's style sheet (`STYLE`), so that
charts follow light and dark mode. The same data give the same bytes. Names and titles are data:
they are escaped, for HTML and for plotly's own markup.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

from groundup.files import hash_json
from groundup.tables import printable

COLOURS = ("#3d85c6", "#e08214", "#2a9d6f", "#a65fb0", "#c0504d")  # readable on white and on black
QUIET = "#8a8f98"

STYLE = """
.chart { margin: 0; min-width: 0; break-inside: avoid; }
.chart figcaption { font-weight: 600; display: flex; gap: .75rem; align-items: baseline; }
.chart figcaption button { font: inherit; font-size: .8rem; font-weight: 400; color: inherit;
  background: none; border: 1px solid var(--line); border-radius: .4rem; padding: .1rem .5rem;
  cursor: pointer; }
.chart .main-svg { background: none !important; }
.chart .main-svg text { fill: var(--ink) !important; }
.chart .main-svg .hoverlayer text { fill: #fff !important; }
.chart .gridlayer path, .chart .zerolinelayer path { stroke: var(--grid) !important; }
.chart .errorbar path, .chart path.xerror { stroke: var(--ink) !important; }
@media print { .chart figcaption button, .chart .modebar { display: none; } }
"""


def script() -> str:
    """Plotly's JavaScript, whole, as a ``<script>`` element; once in a page, before the charts."""
    from plotly.offline import get_plotlyjs

    return f"<script>{get_plotlyjs()}</script><script>{_KEEP_FITTING}</script>"


# A chart takes its width when it is drawn; columns, scroll bars and windows change later. Labels
# are placed for a wide page (`labels`): where a narrow one or a zoom makes two of them meet, the
# smaller or later one is hidden; the mouse still names its point.
_KEEP_FITTING = """
addEventListener("DOMContentLoaded", () => {
  const thin = (plot) => {
    const size = (one) => parseFloat(getComputedStyle(one).fontSize), kept = [];
    const labels = [...plot.querySelectorAll(".textpoint text")];
    labels.sort((a, b) => size(b) - size(a)).forEach((label) => {
      const a = label.getBoundingClientRect();
      const meets = kept.some((b) => a.left < b.right - 1 && b.left < a.right - 1
        && a.top < b.bottom - 3 && b.top < a.bottom - 3);
      label.style.visibility = meets ? "hidden" : "visible";
      if (!meets) kept.push(a);
    });
  };
  const fit = new ResizeObserver((seen) => seen.forEach((one) =>
    Plotly.Plots.resize(one.target).then(() => thin(one.target))));
  document.querySelectorAll(".js-plotly-plot").forEach((plot) => {
    thin(plot);
    fit.observe(plot);
    plot.on("plotly_relayout", () => thin(plot));
  });
});
"""


def figure(
    title: str, traces: list[dict[str, Any]], layout: dict[str, Any], height: int, log_switch: bool
) -> str:
    """The HTML around one plot; its id is a hash of what it shows.

    Args:
        title: said above the chart.
        traces: as plotly takes them.
        layout: the same; with both axes and ``showlegend``.
        height: of the drawing, in CSS pixels.
        log_switch: offer a button between linear and logarithmic y axis.
    """
    import plotly.graph_objects as go

    common = {
        "template": "none",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12},
        "hoverlabel": {"bgcolor": "#23272e", "font": {"color": "#fff"}},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": QUIET, "activecolor": COLOURS[0]},
        "margin": {"l": 56, "r": 32, "t": 34 if layout["showlegend"] else 12, "b": 44},
        "height": height,
        "autosize": True,
    }
    for axis in (layout["xaxis"], layout["yaxis"]):
        axis.setdefault("automargin", True)
    figure = go.Figure(data=traces, layout={**common, **layout})
    name = "chart-" + hash_json([title, json.loads(figure.to_json())])[:12]
    plot = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        include_mathjax=False,
        div_id=name,
        config={
            "responsive": False,  # see _KEEP_FITTING
            "displaylogo": False,
            "modeBarButtons": [["toImage", "resetScale2d"]],
            "toImageButtonOptions": {"format": "svg"},  # png needs blob: images, which pages forbid
        },
    )
    button = _SWITCH.replace("NAME", name) if log_switch else ""
    return (
        f'<figure class="chart"><figcaption><span>{escape(printable(title))}</span>{button}'
        f"</figcaption>{plot}</figure>"
    )


_SWITCH = (
    '<button type="button" aria-pressed="false" onclick="'
    "const on = this.getAttribute('aria-pressed') === 'false';"
    "this.setAttribute('aria-pressed', on); this.textContent = on ? 'linear scale' : 'log scale';"
    "Plotly.relayout('NAME', {'yaxis.type': on ? 'log' : 'linear', 'yaxis.autorange': true});"
    '">log scale</button>'
)


def text(name: str) -> str:
    """A name for plotly, which reads a few HTML tags in texts: none of ours."""
    return escape(printable(name))
