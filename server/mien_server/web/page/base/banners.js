// What an operator must know of the server itself: the connection is lost, the history lags, a certificate
// ends.

import { age, at, now } from "./clock.js";
import { byId, element, prose, refill } from "./dom.js";
import { duration } from "./format.js";

const LAG_S = 30;
const WARN_DAYS = 30;
const BACK_MS = 4000;

/** Fill `#banners` from `store`. */
export function startBanners(store) {
  let wasLost = false;
  let isBack = false;
  const show = () => {
    const { lostSince } = store.connection;
    if (lostSince === null && wasLost) {
      isBack = true;
      setTimeout(() => {
        isBack = false;
        show();
      }, BACK_MS);
    }
    wasLost = lostSince !== null;
    const { server } = store.status ?? {};
    document.documentElement.toggleAttribute("data-history-away", server?.up === true && server.behind_s === null);
    const found = [
      lostSince === null ? null : lost(store.connection),
      isBack && lostSince === null ? { id: "back", tone: "good", words: () => ["Connected again. What was missed is here."] } : null,
      ...(store.status === null ? [] : ofServer(store.status.server)),
    ].filter(Boolean);
    refill(byId("banners"), JSON.stringify(found.map(({ id }) => id)), () =>
      found.map(({ tone, words }) => element("p", { class: `banner ${tone}` }, ...words())),
    );
  };
  store.watch(["connection", "status"], show);
}

const lost = ({ lostSince, why }) => ({
  id: `lost ${lostSince} ${why}`,
  tone: "bad",
  words: () => ["Connection lost ", age(lostSince), ". What you see is from then; trying again. ", ...prose(why)],
});

function ofServer({ up, behind_s: behind, certificate_ends: ends }) {
  const found = [];
  if (!up) found.push({ id: "down", tone: "bad", words: () => prose("The server is not up. Start it: `mien server up`.") });
  if (up && behind === null) {
    found.push({ id: "alone", tone: "watch", words: () => prose("Nothing keeps the history now. `mien server doctor` says why.") });
  } else if (up && behind > LAG_S) {
    const minutes = Math.floor(behind / 60);
    found.push({ id: `behind ${minutes}`, tone: "watch", words: () => [`The history is ${duration(behind)} behind.`] });
  }
  const days = ends === null ? null : (Date.parse(ends) - now()) / 86_400_000;
  if (days !== null && days < WARN_DAYS) {
    const words = () => ["The server's certificate ends ", at(ends), ...prose(". Renew it: `mien server init DIR --renew`; a server that runs takes it by itself.")];
    found.push({ id: `ends ${ends}`, tone: "watch", words });
  }
  return found;
}
