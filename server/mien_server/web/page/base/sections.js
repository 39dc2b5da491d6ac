// The links at the top go to a part of the page, and say which one is in sight.

import { setAttribute } from "./dom.js";

/** Follow the links of the header's navigation. */
export function startSections() {
  const links = [...document.querySelectorAll(".bar nav a")];
  const sections = links.map((link) => document.querySelector(link.getAttribute("href")));
  for (const link of [...links, document.querySelector(".skip")]) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      goTo(link.getAttribute("href").slice(1));
    });
  }
  const mark = () => {
    const line = innerHeight / 3;
    const atEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 2;
    const above = sections.filter((section) => section.getBoundingClientRect().top <= line);
    const here = atEnd && scrollY > 0 ? sections.at(-1) : (above.at(-1) ?? sections[0]);
    links.forEach((link, at) => setAttribute(link, "aria-current", sections[at] === here ? "true" : null));
  };
  addEventListener("scroll", mark, { passive: true });
  new ResizeObserver(mark).observe(document.querySelector("#dashboard > main"));
}

/** Bring a section into sight, and the focus to it. */
export function goTo(id) {
  const section = document.getElementById(id);
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  section.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
  section.focus({ preventScroll: true });
}
