// Tabs: one is shown; left, right, Home and End go from one to the other.

import { setShown } from "./dom.js";

const STEPS = { ArrowRight: 1, ArrowLeft: -1 };

/** Make the `[role=tab]` elements in `list` work; each names its panel with `aria-controls`. */
export function makeTabs(list) {
  const tabs = [...list.querySelectorAll("[role=tab]")];
  const choose = (chosen) => {
    for (const tab of tabs) {
      const isChosen = tab === chosen;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      setShown(document.getElementById(tab.getAttribute("aria-controls")), isChosen);
    }
  };
  for (const tab of tabs) tab.addEventListener("click", () => choose(tab));
  list.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(event.target);
    if (at < 0) return;
    const step = STEPS[event.key];
    const next =
      step !== undefined ? (at + step + tabs.length) % tabs.length
      : event.key === "Home" ? 0
      : event.key === "End" ? tabs.length - 1
      : null;
    if (next === null) return;
    event.preventDefault();
    choose(tabs[next]);
    tabs[next].focus();
  });
  choose(tabs[0]);
}
