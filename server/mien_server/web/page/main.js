// The page: asks who looks, then builds every part on one store that the server's stream keeps true.

import { note } from "./base/announce.js";
import { ApiError, onSessionLost } from "./base/api.js";
import { startBanners } from "./base/banners.js";
import { startClock } from "./base/clock.js";
import { byId, setShown, setText } from "./base/dom.js";
import { goTo, startSections } from "./base/sections.js";
import { shortcut, startShortcuts } from "./base/shortcuts.js";
import { nextTheme, startTheme } from "./base/theme.js";
import { startRunPickers } from "./curves/run_picker.js";
import { startCurves } from "./curves/section.js";
import { startLog } from "./log/section.js";
import { startModels } from "./models/section.js";
import { startRunPanel } from "./run/panel.js";
import { openStart } from "./run/start_dialog.js";
import { askForToken, logOut, session } from "./session/login.js";
import { startSites } from "./sites/section.js";
import { Live } from "./state/live.js";
import { Refresh } from "./state/refresh.js";
import { Store } from "./state/store.js";

const TRY_AGAIN_MS = 3000;

async function whoLooks() {
  for (;;) {
    try {
      return (await session()) ?? (await askForToken());
    } catch (problem) {
      if (!(problem instanceof ApiError)) throw problem;
      note(problem.message, "bad");
      await new Promise((done) => setTimeout(done, TRY_AGAIN_MS));
    }
  }
}

function build(store, refresh) {
  startTheme(byId("theme"));
  startClock();
  startSections();
  startBanners(store);
  startRunPanel(store);
  startCurves(store);
  startRunPickers(store, (run) => {
    store.picked = run;
    store.changed("runs");
    refresh.looked().catch((problem) => note(problem.message, "bad"));
  });
  startSites(store);
  startModels(store);
  startLog(store);
  byId("logout").addEventListener("click", logOut);
  store.watch(["status"], () => {
    const server = store.status?.server;
    if (server) setText(byId("server-line"), `Mien ${server.version} · history in ${server.database}`);
  });
}

function bindKeys(store) {
  ["run", "curves", "sites", "models", "log"].forEach((id, at) => {
    const name = document.getElementById(`${id}-title`).textContent;
    shortcut(String(at + 1), `Go to: ${name}`, () => goTo(id));
  });
  shortcut("/", "Search the log", () => {
    goTo("log");
    byId("log-text").focus({ preventScroll: true });
  });
  if (store.isOperator) shortcut("n", "Start a run", () => openStart(store));
  shortcut("t", "Theme: auto, light, dark", nextTheme);
  startShortcuts(byId("keyboard"));
}

async function start() {
  const { role } = await whoLooks();
  const store = new Store();
  const refresh = new Refresh(store);
  store.role = role;
  setText(byId("role"), role);
  setShown(byId("dashboard"), true);
  build(store, refresh);
  bindKeys(store);
  onSessionLost(() => location.reload());
  new Live(store, refresh).start();
}

start();
