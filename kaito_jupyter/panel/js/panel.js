import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import "./panel.css";

export default { render({ el }) { el.textContent = "panel " + typeof uPlot; } };
