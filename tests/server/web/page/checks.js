() => {
  // Runs inside the page: what cannot be read, what has no name, what is marked up wrongly.
  const visible = (node) => node.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });

  const parsed = (text) => {
    const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    probe.fillStyle = text;
    probe.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = probe.getImageData(0, 0, 1, 1).data;
    return { rgb: [red, green, blue], alpha: alpha / 255 };
  };
  const known = new Map();
  const colour = (text) => known.get(text) ?? known.set(text, parsed(text)).get(text);
  const over = (front, back) => front.rgb.map((part, at) => part * front.alpha + back[at] * (1 - front.alpha));

  // WCAG 2.2: relative luminance and contrast ratio
  const luminance = (rgb) => {
    const [red, green, blue] = rgb.map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const contrast = (one, other) => {
    const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };

  const ground = (node) => {
    const layers = [];
    for (let at = node; at !== null; at = at.parentElement) layers.push(colour(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((back, front) => over(front, back), [255, 255, 255]);
  };

  const faintText = [...document.body.querySelectorAll("*")]
    .filter((node) => visible(node) && !node.closest(":disabled, .unseen, canvas"))
    .filter((node) => [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim() !== ""))
    .map((node) => {
      const style = getComputedStyle(node);
      const size = parseFloat(style.fontSize);
      const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
      const back = ground(node);
      const ratio = contrast(over(colour(style.color), back), back);
      return { text: node.textContent.trim().slice(0, 40), ratio, least: isLarge ? 3 : 4.5 };
    })
    .filter(({ ratio, least }) => ratio < least);

  const drawn = ["valence", "arousal", "loss", "up", "down", "epsilon", "wait", "train", "transfer", "aggregate", "evaluate"];
  const marks = ["edge", "focus"];
  const panel = ground(document.querySelector(".panel"));
  const probe = document.body.appendChild(document.createElement("span"));
  const faintColours = [...drawn, ...marks]
    .map((name) => {
      probe.style.color = `var(--${name})`;
      return { name, ratio: contrast(colour(getComputedStyle(probe).color).rgb, panel) };
    })
    .filter(({ ratio }) => ratio < 3);
  probe.remove();

  const nameOf = (node) => {
    const by = (node.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent);
    const labels = [...(node.labels ?? [])].map((label) => label.textContent);
    return [node.getAttribute("aria-label"), ...by, ...labels, node.textContent, node.alt].filter(Boolean).join(" ").trim();
  };
  const nameless = [...document.querySelectorAll("button, a, input, select, [role=slider], [role=tab], dialog, nav, section, table")]
    .filter((node) => visible(node) && nameOf(node) === "")
    .map((node) => node.outerHTML.slice(0, 80));

  const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
  const refers = ["aria-labelledby", "aria-describedby", "aria-controls", "for"];
  const wrongMarkup = [
    ...ids.filter((id, at) => ids.indexOf(id) !== at).map((id) => `twice: #${id}`),
    ...[...document.querySelectorAll(refers.map((name) => `[${name}]`).join(", "))].flatMap((node) =>
      refers
        .flatMap((name) => (node.getAttribute(name) ?? "").split(" ").filter(Boolean))
        .filter((id) => document.getElementById(id) === null)
        .map((id) => `nobody is #${id}`),
    ),
    ...[...document.querySelectorAll("img:not([alt])")].map((image) => `no alt: ${image.src}`),
    ...(document.querySelectorAll("h1").length - document.querySelectorAll("[hidden] h1").length === 1 ? [] : ["not one h1"]),
    ...(document.documentElement.lang ? [] : ["no language"]),
    ...[...document.querySelectorAll("main")].filter(visible).length === 1 ? [] : ["not one main"],
  ];
  return { faintText, faintColours, nameless, wrongMarkup };
}
