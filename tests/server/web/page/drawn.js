// Runs inside the page: whether the line of a chart, or its part of a colour, is drawn at each of its rounds.
(name, rounds, part = name) => {
  const card = document.querySelector(`[data-chart=${name}]`);
  const canvas = card.querySelector("canvas");
  const over = card.querySelector(".u-over");
  const scale = canvas.width / canvas.clientWidth;
  const probe = document.body.appendChild(document.createElement("span"));
  probe.style.color = `var(--${part})`;
  const colour = getComputedStyle(probe).color.match(/\d+/g).slice(0, 3).map(Number);
  probe.remove();
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const isColour = (x, y) => colour.every((part, at) => Math.abs(pixels[4 * (y * canvas.width + x) + at] - part) < 8);
  const left = over.offsetLeft * scale;
  const width = over.clientWidth * scale;
  return Array.from({ length: rounds }, (_, at) => {
    const x = Math.floor(left + ((at + 0.5) / rounds) * width);
    for (let y = 0; y < canvas.height; y += 1) if (isColour(x, y)) return true;
    return false;
  });
}
