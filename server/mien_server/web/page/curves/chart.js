// One chart, drawn by uPlot: rounds from left to right. What its lines are comes from curves/plans.js.

import uPlot from "../vendor/uplot/uPlot.esm.js";
import { colour, faint, onColours } from "./colours.js";
import { cursor } from "./cursor.js";

const HEIGHT = 190;
const POINTS_UP_TO = 40;
const LEAST_EDGED = 6; // pixels a round
const ROUND_STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000];
const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';

/** The line's look by its kind. */
const KINDS = {
  line: { width: 2.5 },
  dashed: { width: 2, dash: [6, 4] },
  edge: { width: 0 },
};

/** A chart in `host`, for a plan of lines. */
export class Chart {
  #host;
  #plan;
  #plot = null;
  #numbers = [];

  constructor(host, plan) {
    this.#host = host;
    this.#plan = plan;
    onColours(() => this.#plot?.redraw(true, true));
    cursor.addEventListener("look", () => this.#point());
    new ResizeObserver(() => this.#fit()).observe(host);
  }

  /** Draw these rounds; `lines` are the plan's, each as long as `numbers`. */
  draw(numbers, lines) {
    this.#numbers = numbers;
    const data = [numbers, ...lines];
    if (this.#plot === null) this.#plot = new uPlot(this.#options(), data, this.#host);
    else this.#plot.setData(data);
    this.#fit();
  }

  #fit() {
    const width = Math.floor(this.#host.clientWidth);
    if (this.#plot !== null && width > 0 && width !== this.#plot.width) this.#plot.setSize({ width, height: HEIGHT });
    this.#point();
  }

  /** Stand where the cursor of all charts stands. */
  #point() {
    if (this.#plot === null || this.#isPointedAt) return;
    const at = this.#numbers.indexOf(cursor.round);
    const left = at < 0 ? -10 : this.#plot.valToPos(cursor.round, "x");
    this.#plot.setCursor({ left, top: at < 0 ? -10 : 0 }, false);
  }

  #isPointedAt = false;

  #options() {
    const { bars = false, range, format, lines, bands = [] } = this.#plan;
    return {
      width: Math.max(200, Math.floor(this.#host.clientWidth)),
      height: HEIGHT,
      padding: [10, () => this.#halfOfLast, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: false, y: false },
        points: { show: !bars, size: 8 },
      },
      scales: { x: { time: false, range: () => this.#ends }, y: { range } },
      axes: [
        axis({
          space: 36,
          incrs: ROUND_STEPS,
          size: 24,
          values: (_, ticks) => ticks.map(String),
          grid: { show: false },
          label: "round",
          labelFont: FONT,
          labelSize: 16,
          labelGap: 0,
        }),
        axis({ space: 32, size: (plot, texts) => axisWidth(plot, texts), values: (_, ticks) => ticks.map(format) }),
      ],
      bands: bands.map(({ between, colour: name }) => ({ series: between, fill: () => faint(name, 0.16) })),
      series: [{}, ...lines.map((line) => (bars ? bar(line) : curve(line)))],
      hooks: {
        init: [(plot) => this.#watch(plot)],
        setCursor: [(plot) => this.#look(plot)],
      },
    };
  }

  /** Half a round before the first and after the last one, whatever uPlot asks from. */
  get #ends() {
    return [this.#numbers[0] - 0.5, this.#numbers.at(-1) + 0.5];
  }

  /** Room for that half of the last round's number that stands beyond the line's end. */
  get #halfOfLast() {
    return 4 + 4 * String(this.#numbers.at(-1)).length;
  }

  #watch(plot) {
    plot.over.addEventListener("pointerenter", () => {
      this.#isPointedAt = true;
    });
    plot.over.addEventListener("pointerleave", () => {
      this.#isPointedAt = false;
      cursor.look(null);
    });
  }

  #look(plot) {
    if (this.#isPointedAt) cursor.look(this.#numbers[plot.cursor.idx] ?? null);
  }
}

function axis(options) {
  return {
    stroke: () => colour("quiet"),
    font: FONT,
    gap: 5,
    ticks: { show: false },
    grid: { stroke: () => colour("grid"), width: 1 },
    ...options,
  };
}

/** As wide as its longest number. */
function axisWidth(plot, texts) {
  const longest = (texts ?? []).reduce((one, other) => (other.length > one.length ? other : one), "");
  plot.ctx.font = FONT;
  return Math.ceil(plot.ctx.measureText(longest).width) + 14;
}

function curve({ colour: name, kind }) {
  return {
    stroke: () => colour(name),
    ...KINDS[kind],
    spanGaps: false,
    points: {
      show: (plot, _, first, last) => kind === "line" && last - first < POINTS_UP_TO,
      size: 6,
      fill: () => colour(name),
    },
  };
}

const wideBars = uPlot.paths.bars({ size: [0.76, 36, 1] });
const narrowBars = uPlot.paths.bars({ size: [1, 36, 1] });

function bar({ colour: name }) {
  return {
    stroke: () => colour("panel"),
    fill: () => colour(name),
    width: 1,
    paths: (plot, series, first, last) => {
      const pixels = plot.bbox.width / uPlot.pxRatio / (last - first + 1);
      const isWide = pixels >= LEAST_EDGED;
      plot.series[series].width = isWide ? 1 : 0; // around a bar of a pixel or two, its edge would be all there is
      return (isWide ? wideBars : narrowBars)(plot, series, first, last);
    },
    points: { show: false },
  };
}
