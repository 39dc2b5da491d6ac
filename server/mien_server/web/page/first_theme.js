// Before the page is drawn: the theme that was chosen here the last time, so that nothing flashes.
// A classic script, because modules run after the first picture.
(() => {
  try {
    const chosen = localStorage.getItem("mien.theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // No storage is allowed here: the machine's own theme it is.
  }
})();
