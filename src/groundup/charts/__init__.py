"""The one plotter: titled charts as pieces of HTML, drawn by plotly's JavaScript from its wheel.

A page holds `script()` once and any number of charts; nothing is fetched from anywhere.
"""

from groundup.charts.figure import COLOURS as COLOURS
from groundup.charts.figure import QUIET as QUIET
from groundup.charts.figure import STYLE as STYLE
from groundup.charts.figure import script as script
from groundup.charts.lines import MOST_POINTS as MOST_POINTS
from groundup.charts.lines import Band as Band
from groundup.charts.lines import Bar as Bar
from groundup.charts.lines import Marks as Marks
from groundup.charts.lines import Series as Series
from groundup.charts.lines import bar_chart as bar_chart
from groundup.charts.lines import line_chart as line_chart
from groundup.charts.lines import thin as thin
from groundup.charts.spots import Field as Field
from groundup.charts.spots import Remark as Remark
from groundup.charts.spots import Spot as Spot
from groundup.charts.spots import spot_chart as spot_chart
